"""The pool under Kombu's event loop, the hub, as in a worker process."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator"
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.asynchronous import Hub

from celery_async_bridge.worker import batch
from celery_async_bridge.worker.hub_desk import HubDesk
from celery_async_bridge.worker.pool import TaskPool
from tests.unit._memory import memory_app
from tests.unit.worker.test_pool import Asked, send


class Called(Asked):
    """Notes in which thread it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def options(self) -> dict[str, Any]:
        def noting(fn: Any) -> Any:
            def note(*args: Any) -> None:
                self.threads.add(threading.get_ident())
                fn(*args)

            return note

        return {name: noting(fn) for name, fn in super().options().items()}


@pytest.fixture
def app(unique: str) -> Any:
    app = memory_app(unique)
    app.gate = threading.Event()

    @app.task(name="aadd")
    async def aadd(x: int, y: int) -> int:
        await asyncio.sleep(0)
        return x + y

    @app.task(name="gated")
    async def gated() -> None:
        await asyncio.get_running_loop().run_in_executor(None, app.gate.wait)

    app.finalize()
    return app


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    # Without a connection to read from, it sleeps from one timer to the next.
    hub.timer.call_repeatedly(0.05, lambda: None)
    yield hub
    hub.close()


@pytest.fixture
def pool(app: Any, hub: Hub) -> Iterator[TaskPool]:
    pool = TaskPool(2, app=app, initargs=(app, "here"))
    pool.start()
    pool.register_with_event_loop(hub)
    yield pool
    app.gate.set()
    pool.stop()


def run(hub: Hub, *jobs: Asked) -> None:
    while not all(job.done.is_set() for job in jobs):
        hub.run_once()


def test_callbacks_are_called_in_the_thread_of_the_hub(
    pool: TaskPool, hub: Hub
) -> None:
    several = [Called() for _ in range(5)]
    for asked in several:
        send(pool, "aadd", asked, 1, 2)
    run(hub, *several)
    for asked in several:
        assert [call[0] for call in asked.calls] == ["accept", "done"]
        assert asked.threads == {threading.get_ident()}


def test_a_flush_forgets_what_has_not_begun(app: Any, pool: TaskPool, hub: Hub) -> None:
    several = [Asked() for _ in range(5)]
    for asked in several:
        send(pool, "gated", asked)
    pool.flush()
    app.gate.set()
    run(hub, *several[:2])
    assert pool.info["waiting"] == 0
    pool.stop()
    assert [asked.calls for asked in several[2:]] == [[], [], []]


def test_stop_waits_for_what_has_begun_and_hears_of_it(
    app: Any, pool: TaskPool
) -> None:
    several = [Asked() for _ in range(3)]
    for asked in several:
        send(pool, "gated", asked)
    threading.Timer(0.1, app.gate.set).start()
    pool.stop()
    assert [[call[0] for call in asked.calls] for asked in several] == [
        ["accept", "done"],
        ["accept", "done"],
        [],
    ]


def test_terminated_before_its_turn(app: Any, pool: TaskPool, hub: Hub) -> None:
    first, last = [Asked(), Asked()], Asked()
    for asked in first:
        send(pool, "gated", asked)
    job = send(pool, "gated", last)
    job.terminate()
    app.gate.set()
    run(hub, *first)
    pool.stop()
    # Upstream marks it as revoked when it hears that it was accepted.
    assert [call[0] for call in last.calls] == ["accept"]


def test_what_a_callback_raises_does_not_reach_the_hub(
    pool: TaskPool, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Any] = []
    monkeypatch.setattr(
        batch._logger, "error", lambda text, exc, **_: errors.append(exc)
    )

    def fails(_: Any) -> None:
        raise ValueError("boo")

    pool.apply_async(lambda: None, callback=fails)
    after = Asked()
    pool.apply_async(lambda: None, **after.options())
    run(hub, after)
    pool.stop()
    assert [str(exc) for exc in errors] == ["boo"]


def test_grow_runs_what_waits(app: Any, pool: TaskPool, hub: Hub) -> None:
    several = [Asked() for _ in range(3)]
    for asked in several:
        send(pool, "gated", asked)
    assert pool.info["waiting"] == 1
    pool.grow(1)
    assert (pool.info["waiting"], pool.num_processes) == (0, 3)
    pool.shrink(2)
    assert pool.num_processes == 1
    with pytest.raises(ValueError, match="cannot shrink"):
        pool.shrink()


def test_a_cancellation_that_gets_out_is_an_error(
    app: Any, pool: TaskPool, hub: Hub
) -> None:
    @app.task(name="leaks")
    async def leaks() -> None:
        other = asyncio.ensure_future(asyncio.sleep(60))
        other.cancel()
        await other

    asked = Asked()
    send(pool, "leaks", asked)
    run(hub, asked)
    failed, einfo, _ = asked.calls[-1][1]
    assert failed
    assert "CancelledError" in str(einfo.exception)


def test_a_body_that_exits_is_a_lost_worker(app: Any, pool: TaskPool, hub: Hub) -> None:
    @app.task(name="exits")
    async def exits() -> None:
        raise SystemExit(3)

    asked = Asked()
    send(pool, "exits", asked)
    run(hub, asked)
    assert asked.calls[-1][0] == "error"
    assert "SystemExit(3)" in str(asked.calls[-1][1])


def test_the_hub_goes_on_while_a_body_holds_the_loop(
    app: Any, pool: TaskPool, hub: Hub
) -> None:
    # Heartbeats of the connection and of the worker are timers of the hub.
    rung, beats = threading.Event(), iter(range(5))

    def beat() -> None:
        if next(beats, None) is None:
            rung.set()

    @app.task(name="holds")
    async def holds() -> bool:
        return rung.wait(60)

    hub.timer.call_repeatedly(0.01, beat)
    asked = Asked()
    send(pool, "holds", asked)
    run(hub, asked)
    assert asked.calls[-1][1][:2] == (0, "True")


def test_what_is_settled_while_the_hub_does_not_run_is_written(
    app: Any, hub: Hub
) -> None:
    written: list[int] = []
    desk = HubDesk(asyncio.new_event_loop(), 1, hub, lambda: written.append(1))
    assert desk.settle(1)
    assert written == [1]
    desk.loop.close()


def test_a_connection_that_is_lost_meanwhile_ends_nothing(
    app: Any, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    def lost() -> None:
        raise ConnectionError("gone")

    desk = HubDesk(asyncio.new_event_loop(), 1, hub, lost)
    assert desk.settle(1)
    assert "Couldn't ack" in caplog.text
    desk.loop.close()
