"""Results that are sent back: waiting in the thread that sends."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.app.task import Context
from celery.exceptions import TimeoutError as CeleryTimeoutError
from kombu import pools

from celery_async_bridge.core.dispatch import perform
from celery_async_bridge.mixins.celery._route import backend_route
from tests.unit.core.help import until
from tests.unit.mixins.celery._results import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = QUIET


class Replier:
    """Sends results to the reply queue of an app's pinned thread."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._threads: list[threading.Thread] = []

    async def open(self) -> Replier:
        self._oid = await perform(
            backend_route(self._app),
            lambda: self._app.backend.oid,  # type: ignore[attr-defined]
        )
        return self

    def later(
        self, task_id: str, value: Any, state: str = "SUCCESS", delay: float = 0.1
    ) -> None:
        request = Context(reply_to=self._oid, correlation_id=task_id)

        def run() -> None:
            time.sleep(delay)
            self._app.backend.store_result(task_id, value, state, request=request)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)


@pytest.fixture(params=["amqp", "redis", "memory"])
def app(request: pytest.FixtureRequest, unique: str) -> Iterator[Celery]:
    """An app with the rpc backend."""
    settings: dict[str, Any] = {"task_default_queue": unique, "result_expires": 30}
    if request.param == "amqp":
        queue: Callable[[str], str] = request.getfixturevalue("amqp_queue")
        settings["task_default_queue"] = queue("tasks")
        url = request.getfixturevalue("amqp_url")
    elif request.param == "redis":
        url = request.getfixturevalue("redis_url")
        settings["broker_transport_options"] = request.getfixturevalue("redis_options")
    else:
        url = "memory://"
    app = Celery(unique, broker=url, backend="rpc://", set_as_current=False)
    app.conf.update(**settings)
    yield app
    app.close()
    pools.reset()


async def test_waits_states_and_sends_share_a_thread(app: Celery) -> None:
    ours: Any = app
    results = [await ours.asend_task("task") for _ in range(6)]
    replier = await Replier(app).open()
    replier.later(results[0].id, 42)
    assert await results[0].aget(timeout=30) == 42

    replier.later(results[1].id, ValueError("wrong"), "FAILURE")
    with pytest.raises(ValueError, match="wrong"):
        await results[1].aget(timeout=30)

    for timeout in (0, 0.2):
        with pytest.raises(CeleryTimeoutError):
            await results[2].aget(timeout=timeout)

    # Each is sent when the one before it has been seen.
    rest: list[tuple[Any, str]] = [({"n": 1}, "PROGRESS"), ("end", "SUCCESS")]
    states = []
    async for state, meta in results[2].astates(timeout=30):
        states.append((state, meta["result"]))
        if rest:
            replier.later(results[2].id, *rest.pop(0), delay=0)
    assert states == [("PENDING", None), ("PROGRESS", {"n": 1}), ("SUCCESS", "end")]

    waits = [asyncio.ensure_future(one.aget(timeout=60)) for one in results[3:]]
    await asyncio.sleep(0.1)
    # Behind those who wait they would miss their deadline, of ten seconds.
    more = [await ours.asend_task("task") for _ in range(3)]
    assert not any(wait.done() for wait in waits)
    for place, one in enumerate([*results[3:], *more]):
        replier.later(one.id, place)
    assert await asyncio.gather(*waits) == [0, 1, 2]
    # These arrive while nobody waits for them.
    assert await ours.ResultSet(more).aget(timeout=30) == [3, 4, 5]
    replier.join()


async def test_a_result_that_is_looked_up_by_its_id(app: Celery) -> None:
    ours: Any = app
    sent = await ours.asend_task("task")
    replier = await Replier(app).open()
    replier.later(sent.id, "found")
    assert await ours.AsyncResult(sent.id).aget(timeout=30) == "found"
    replier.join()


async def test_cancelled_waits_leave_nothing(app: Celery) -> None:
    ours: Any = app
    results = [await ours.asend_task("task") for _ in range(20)]
    waits = [asyncio.ensure_future(one.aget(timeout=60)) for one in results]
    await asyncio.sleep(0.1)
    for wait in waits[1:]:
        wait.cancel()
    done = await asyncio.gather(*waits[1:], return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in done)
    replier = await Replier(app).open()
    replier.later(results[0].id, "kept")
    assert await waits[0] == "kept"
    await until(lambda: len(asyncio.all_tasks()) == 1)
    replier.join()
