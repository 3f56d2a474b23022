"""Django in the process of the tests: set up once, its table made once."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from tests.integration.django import settings as site_settings
from tests.interop.processes import ROOT


def start() -> None:
    """Set Django up, with the settings of the tests and without the environment.

    Celery looks for `DJANGO_SETTINGS_MODULE` whenever an app is made; the apps of other
    tests must not become Django's.
    """
    import django
    from django.conf import settings

    if settings.configured:
        return
    from celery_async_bridge.contrib.django.connections import leave_alone

    names = [name for name in vars(site_settings) if name.isupper()]
    settings.configure(**{name: getattr(site_settings, name) for name in names})
    django.setup()
    # Until a test asks for it: the process is other tests', too.
    leave_alone()


def make_table(alias: str) -> None:
    """Make the table of the notes in a database."""
    from django.db import connections

    from tests.integration.django.notes.models import Note

    connection = connections[alias]
    with connection.schema_editor() as editor:
        editor.create_model(Note)
    connection.close()


def close_all() -> None:
    """Close the connections of this thread, and of async tests in asgiref's."""
    from asgiref.sync import sync_to_async
    from django.db import connections

    connections.close_all()
    asyncio.run(sync_to_async(connections.close_all)())


def postgres_missing() -> str:
    """Say why there is no PostgreSQL; empty if there is one."""
    if "postgres" not in site_settings.DATABASES:
        return "psycopg is not installed"
    import psycopg

    try:
        psycopg.connect(**arguments()).close()
    except psycopg.OperationalError as exc:
        return f"no PostgreSQL: {exc}".splitlines()[0]
    return ""


def arguments() -> dict[str, Any]:
    """How to connect to PostgreSQL, beside Django."""
    given = site_settings.POSTGRES
    names = {"HOST": "host", "PORT": "port", "NAME": "dbname"}
    names |= {"USER": "user", "PASSWORD": "password"}
    found = {names[key]: value for key, value in given.items() if value}
    return {**found, "connect_timeout": 5, "autocommit": True}


def need_postgres() -> None:
    """Skip the test where there is no PostgreSQL."""
    why = postgres_missing()
    if why:
        pytest.skip(why)


def environment(**more: Any) -> dict[str, str]:
    """The environment of another process of this project, and more settings there."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("CELERY_")},
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.integration.django.settings",
        "BRIDGE_DJANGO_HOME": site_settings.HOME,
        "BRIDGE_DJANGO_SCHEMA": site_settings.SCHEMA,
        "BRIDGE_DJANGO_MORE": json.dumps(more),
    }


def celery_environment(url: str, name: str) -> dict[str, str]:
    """The environment of a worker on a Redis, whose names there begin with `name`."""
    keys = {"global_keyprefix": f"{name}:"}
    return environment(
        CELERY_BROKER_URL=url,
        CELERY_RESULT_BACKEND=url,
        CELERY_TASK_DEFAULT_QUEUE=f"{name}.tasks",
        CELERY_CONTROL_EXCHANGE=f"{name}.control",
        CELERY_EVENT_EXCHANGE=f"{name}.events",
        CELERY_BROKER_TRANSPORT_OPTIONS=keys,
        CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS=keys,
    )


def open_connections(alias: str) -> int:
    """Count what is open to a database, in this process (SQLite) or in all of ours."""
    if alias != "postgres":
        name = str(site_settings.DATABASES[alias]["NAME"])
        files = [os.path.realpath(entry.path) for entry in os.scandir("/proc/self/fd")]
        return files.count(name)
    import psycopg

    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(**arguments()) as connection:
        row = connection.execute(query, [site_settings.SCHEMA]).fetchone()
    return int(row[0]) if row else 0
