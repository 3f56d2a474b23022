"""A Django project for the tests: SQLite files, and PostgreSQL where it runs.

`BRIDGE_DJANGO_HOME` names the place, which the processes of one test share.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from importlib.util import find_spec

HOME = os.environ.get("BRIDGE_DJANGO_HOME", "")
if not HOME:
    HOME = tempfile.mkdtemp(prefix="bridge-django-")
    atexit.register(shutil.rmtree, HOME, ignore_errors=True)
SCHEMA = os.environ.get("BRIDGE_DJANGO_SCHEMA", f"bridge_{os.getpid()}")
#: As PostgreSQL's own tools find it, on this host, with a database `test`.
POSTGRES = {
    "HOST": os.environ.get("PGHOST", "127.0.0.1"),
    "PORT": os.environ.get("PGPORT", "5432"),
    "NAME": os.environ.get("PGDATABASE", "test"),
    "USER": os.environ.get("PGUSER", ""),
    "PASSWORD": os.environ.get("PGPASSWORD", ""),
}

SECRET_KEY = "tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.integration.django.views"
INSTALLED_APPS = [
    name
    for name in (
        "celery_async_bridge.contrib.django",
        "django_celery_results",
        "django_celery_beat",
        "tests.integration.django.notes",
    )
    if find_spec(name.partition(".")[0]) is not None
]


def _sqlite(name: str) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(HOME, f"{name}.sqlite3"),
        "OPTIONS": {"timeout": 60},
        "TEST": {"NAME": os.path.join(HOME, f"{name}.test.sqlite3")},
    }


DATABASES: dict[str, dict[str, object]] = {
    "default": _sqlite("default"),
    "other": _sqlite("other"),
}
if find_spec("psycopg") is not None:
    DATABASES["postgres"] = {
        "ENGINE": "django.db.backends.postgresql",
        **POSTGRES,
        "OPTIONS": {
            "connect_timeout": 5,
            "application_name": SCHEMA,
            "options": f"-c search_path={SCHEMA}",
        },
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

TASKS = {
    "default": {
        "BACKEND": "celery_async_bridge.contrib.django.CeleryTaskBackend",
        "QUEUES": ["default", "urgent"],
        "OPTIONS": {"app": "tests.integration.django.proj.task_app"},
    }
}
# What another process of the test wants to have otherwise.
globals().update(json.loads(os.environ.get("BRIDGE_DJANGO_MORE", "{}")))
