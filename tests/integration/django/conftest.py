"""Django, its databases and Celery apps whose tasks know of its transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.apps import an_app
from tests.integration.django import proj, site
from tests.integration.django import settings as site_settings


@pytest.fixture(scope="session", autouse=True)
def _site(installed: list[str]) -> None:
    site.start()
    for alias in ("default", "other"):
        site.make_table(alias)


@pytest.fixture(scope="module", autouse=True)
def _looked_after(_site: None) -> Iterator[None]:
    from celery_async_bridge.contrib.django.connections import leave_alone, look_after

    look_after()
    yield
    leave_alone()


@pytest.fixture(scope="session")
def _postgres(_site: None) -> Iterator[None]:
    site.need_postgres()
    import psycopg
    from django.db import connections

    with psycopg.connect(**site.arguments()) as connection:
        connection.execute(f"CREATE SCHEMA {site_settings.SCHEMA}")  # type: ignore[call-overload,unused-ignore]
        try:
            site.make_table("postgres")
            yield
        finally:
            connections["postgres"].close()
            connection.execute(f"DROP SCHEMA {site_settings.SCHEMA} CASCADE")  # type: ignore[call-overload,unused-ignore]


@pytest.fixture(params=["default", "postgres"])
def alias(request: pytest.FixtureRequest) -> str:
    """The name of a database: SQLite, PostgreSQL."""
    if request.param == "postgres":
        request.getfixturevalue("_postgres")
    return str(request.param)


@pytest.fixture
def best_alias(request: pytest.FixtureRequest) -> str:
    """PostgreSQL if it is there, else SQLite."""
    if site.postgres_missing():
        return "default"
    request.getfixturevalue("_postgres")
    return "postgres"


@pytest.fixture(autouse=True)
def _no_open_connection(_site: None) -> Iterator[None]:
    site.close_all()
    yield
    site.close_all()


@pytest.fixture
def app(unique: str) -> Iterator[Any]:
    """An app on the embedded broker, with the tasks of the project."""
    url = f"embedded://{unique}"
    with an_app(url, url, unique) as app:
        proj.add_tasks(app)
        yield app
