"""Receivers of worker signals that are coroutine functions."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from celery import signals

from celery_async_bridge import embedded_worker
from celery_async_bridge.mixins.celery import _receivers
from celery_async_bridge.worker.pool import TaskPool
from tests.unit._memory import memory_app
from tests.unit.worker.test_pool import Asked, send

NAMES = sorted(_receivers.SIGNALS)


@pytest.fixture
def app(unique: str) -> Any:
    return memory_app(unique)


@pytest.fixture
def connected() -> Iterator[Callable[..., None]]:
    """Connect receivers until the test is over."""
    with ExitStack() as stack:

        def connect(name: str, receiver: Any) -> None:
            signal: Any = getattr(signals, name)
            signal.connect(receiver, weak=False)
            stack.callback(signal.disconnect, receiver)

        yield connect


@pytest.fixture
def told(connected: Callable[..., None]) -> list[Any]:
    """What async receivers of all the signals have noted: name and loop."""
    notes: list[Any] = []

    def noting(name: str) -> Any:
        async def receive(**_: Any) -> str:
            await asyncio.sleep(0)
            notes.append((name, asyncio.get_running_loop()))
            return name

        return receive

    for name in NAMES:
        connected(name, noting(name))
    return notes


class Sender:
    """What `worker_init` is sent by: a worker that is being made."""

    def __init__(self, pool_cls: Any) -> None:
        self.pool_cls = pool_cls
        self.app = memory_app("sender")


def threads() -> str:
    return str([thread.name for thread in threading.enumerate()])


def test_all_run_on_the_loop_of_the_tasks(app: Any, told: list[Any]) -> None:
    loops = []

    @app.task(name="where")
    async def where() -> None:
        loops.append(asyncio.get_running_loop())

    signals.worker_init.send(sender=Sender(TaskPool))
    assert not told
    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    signals.worker_ready.send(sender=None)
    asked = Asked()
    send(pool, "where", asked)
    asked.wait()
    pool.stop()
    signals.worker_shutdown.send(sender=None)
    assert [name for name, _ in told] == [
        "worker_init",
        "worker_process_init",
        "worker_ready",
        "worker_process_shutdown",
        "worker_shutdown",
    ]
    assert {loop for _, loop in told} == set(loops)
    assert loops[0].is_closed()


def test_without_one_the_loop_does_not_wait_for_the_end(app: Any) -> None:
    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    assert "celery-async-loop" in threads()
    pool.stop()
    assert "celery-async-loop" not in threads()


def test_with_another_pool_each_has_a_loop_of_its_own(told: list[Any]) -> None:
    responses = dict(signals.worker_init.send(sender=Sender("solo")))
    assert "worker_init" in responses.values()
    ((name, loop),) = told
    assert (name, loop.is_closed()) == ("worker_init", True)


def test_what_one_raises_is_told_and_keeps_no_other_from_running(
    told: list[Any], connected: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(_receivers, "_report", lambda _, exc: reported.append(exc))

    async def fails(**_: Any) -> None:
        raise ValueError("boo")

    connected("worker_ready", fails)
    responses = [value for _, value in signals.worker_ready.send(sender=None)]
    assert responses[0] == "worker_ready"
    assert responses[1:] == reported
    assert str(reported[0]) == "boo"


def test_sync_receivers_are_called_as_ever(connected: Callable[..., None]) -> None:
    connected("worker_ready", lambda **_: 7)
    assert [value for _, value in signals.worker_ready.send(sender=None)] == [7]


async def test_an_embedded_worker_has_the_loop_of_its_caller(
    app: Any, told: list[Any]
) -> None:
    async with embedded_worker(app):
        pass
    assert {loop for _, loop in told} == {asyncio.get_running_loop()}
    # There is no process of its own.
    assert [name for name, _ in told] == [
        "worker_init",
        "worker_ready",
        "worker_shutdown",
    ]
