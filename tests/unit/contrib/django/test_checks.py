"""What `manage.py check` says about the bridge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, _state

state: Any = _state

pytest.importorskip("django")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """What the checks find for an app with some settings, by id."""
    from django.core import checks

    made: list[Any] = []

    def find(
        broker: str = "memory://", backend: str = "cache+memory://", **conf: Any
    ) -> dict[str, Any]:
        app: Any = Celery("checked", set_as_current=False, namespace="CELERY")
        app.conf.update(broker_url=broker, result_backend=backend, **conf)
        made.append(app)
        monkeypatch.setattr(state, "default_app", app)
        messages = checks.run_checks()
        return {
            one.id.rpartition(".")[2]: one
            for one in messages
            if one.id.startswith("celery_async_bridge")
        }

    yield find
    for app in made:
        app.close()


def test_a_native_project_has_no_finding(found: Callable[..., Any]) -> None:
    assert found() == {}


def test_without_an_app_there_is_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from celery_async_bridge.contrib.django.checks import check_bridge

    monkeypatch.setattr(state, "default_app", None)
    assert check_bridge() == []


def test_sends_in_threads_are_named(found: Callable[..., Any]) -> None:
    message = found(backend="db+sqlite://")["W001"]
    assert "db+sqlite (backend)" in message.msg


def test_an_old_celery_is_an_error(
    found: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import celery

    monkeypatch.setattr(celery, "VERSION", (5, 4, 0))
    message = found()["E001"]
    assert message.is_serious()
    assert "celery>=5.5" in message.hint


@pytest.mark.parametrize("name", ["asyncio", "async-bridge", "prefork", "solo"])
def test_a_pool_that_is_there(found: Callable[..., Any], name: str) -> None:
    assert found(worker_pool=name) == {}


@pytest.mark.parametrize("name", ["asynico", "asyncio:Runner", "json"])
def test_a_pool_that_is_not_there(found: Callable[..., Any], name: str) -> None:
    assert name in found(worker_pool=name)["W002"].msg


def test_the_pool_of_a_bridge_that_is_switched_off(
    found: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import celery_async_bridge

    celery_async_bridge.uninstall()
    monkeypatch.setenv("CELERY_ASYNC_BRIDGE", "0")
    try:
        assert "CELERY_ASYNC_BRIDGE" in found(worker_pool="asyncio")["W002"].hint
    finally:
        monkeypatch.delenv("CELERY_ASYNC_BRIDGE")
        celery_async_bridge.install()


def test_a_setting_that_is_misspelt(found: Callable[..., Any]) -> None:
    from django.test import override_settings

    with override_settings(CELERY_ASYNC_TREADS=3, CELERY_ASYNC_THREADS=3):
        message = found()["W003"]
    assert message.msg.startswith("CELERY_ASYNC_TREADS ")
    assert message.hint == "did you mean CELERY_ASYNC_THREADS?"
