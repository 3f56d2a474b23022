"""Remote control of a stock worker: commands and the replies to them."""

from __future__ import annotations

# Type checkers know neither the grafted methods nor the decorator of an untyped app.
# mypy: disable-error-code="attr-defined,untyped-decorator,type-arg"
import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery.contrib.testing.worker import start_worker
from celery.exceptions import NotRegistered
from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.mixins.celery.conftest import Desk

pytestmark = [
    # What the worker's own thread meets when its connections are closed under it.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@contextmanager
def worker(app: Any) -> Iterator[str]:
    """A stock worker in a thread; its node name."""
    name = f"worker@{app.main}"
    options: dict[str, Any] = {
        "hostname": name,
        "shutdown_timeout": 20,
        "perform_ping_check": False,
    }
    with start_worker(app, pool="solo", **options):
        yield name
        # The worker sees that it shall stop when something happens.
        wake = threading.Timer(0.3, app.control.broadcast, ("ping",))
        wake.start()
    wake.join()


async def _up(app: Any, node: str) -> None:
    for _ in range(20):
        if await app.control.aping([node], timeout=1):
            return
    pytest.fail("the worker does not answer")


async def test_a_worker_answers(desk: Desk) -> None:
    app = desk.app

    @app.task(name="known", shared=False)
    def known() -> None:
        pass

    with worker(app) as node:
        await _up(app, node)
        control = app.control
        pong = [{node: {"ok": "pong"}}]
        assert await control.aping(destination=[node], timeout=5) == pong
        ask = control.inspect(destination=[node], timeout=5)
        assert await ask.aping() == {node: {"ok": "pong"}}
        assert "known" in (await ask.aregistered() or {})[node]
        assert await ask.aregistered_tasks() == await ask.aregistered()
        assert await ask.aactive() == {node: []}
        assert (await ask.aconf() or {})[node]["task_default_queue"] == desk.queue
        names = [queue["name"] for queue in (await ask.aactive_queues() or {})[node]]
        assert names == [desk.queue]
        # Two kinds of question at once: each gets its own replies.
        clock, stats, report = await asyncio.gather(
            ask.aclock(), ask.astats(), ask.areport()
        )
        assert clock[node].keys() == {"clock"}
        assert stats[node]["pool"]["implementation"].endswith("solo:TaskPool")
        assert "software" in report[node]["ok"]
        told = await control.arate_limit(
            "known", "10/m", destination=[node], reply=True, timeout=5
        )
        assert told == [{node: {"ok": "new rate limit set successfully"}}]
        seen: list[Any] = []
        await control.abroadcast("ping", None, [node], None, True, 5, None, seen.append)
        assert seen == pong
        ids = [f"id-{number}" for number in range(40)]
        sent = await asyncio.gather(*(control.arevoke(one) for one in ids))
        assert sent == [None] * 40
        for _ in range(200):
            if set(ids) <= set((await ask.arevoked() or {})[node]):
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("not every revoke arrived")


async def test_forty_pings_at_once_and_a_send_between_them(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk("redis")
    app = desk.app
    assert app.conf.broker_pool_limit == 10
    with worker(app) as node:
        await _up(app, node)
        pings = [
            asyncio.ensure_future(app.control.inspect(timeout=6).aping())
            for _ in range(40)
        ]
        await asyncio.sleep(0.2)
        await app.asend_task("nobody", ignore_result=True)
        assert not any(ping.done() for ping in pings)
        answers = await asyncio.gather(*pings)
    assert answers == [{node: {"ok": "pong"}}] * 40


async def test_a_cancelled_wait_ends_soon(make_desk: Callable[..., Desk]) -> None:
    app = make_desk("redis").app
    loop = asyncio.get_running_loop()
    waiting = [asyncio.ensure_future(app.control.aping(timeout=60)) for _ in range(5)]
    await asyncio.sleep(0.5)
    start = loop.time()
    for one in waiting:
        one.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)
    assert loop.time() - start < 30
    assert await app.control.aping(timeout=0.2) == []


async def test_one_connection_of_the_caller_for_two_questions(
    make_desk: Callable[..., Desk],
) -> None:
    app = make_desk("amqp").app
    with worker(app) as node, app.connection_for_write() as connection:
        await _up(app, node)
        inspect = app.control.inspect(
            destination=[node], timeout=5, connection=connection
        )
        answers = await asyncio.gather(*(inspect.aping() for _ in range(3)))
    assert answers == [{node: {"ok": "pong"}}] * 3


async def test_apurge_counts(desk: Desk) -> None:
    for number in range(3):
        await desk.app.asend_task("x", (number,), ignore_result=True)
    assert await desk.app.control.apurge() == 3
    assert await desk.app.control.adiscard_all() == 0


async def test_a_destination_must_be_a_list(desk: Desk) -> None:
    with pytest.raises(ValueError, match="destination") as sync:
        desk.app.control.ping(destination="one")
    with pytest.raises(ValueError, match="destination") as twin:
        await desk.app.control.aping(destination="one")
    assert str(twin.value) == str(sync.value)


async def test_an_unreachable_broker_ends_a_question_at_the_deadline(
    make_desk: Callable[..., Desk],
) -> None:
    app = make_desk(
        "memory", broker_url="redis://127.0.0.1:1/0", async_publish_timeout=0.5
    ).app
    loop = asyncio.get_running_loop()
    for call in (app.control.aping, app.control.inspect().astats, app.control.apurge):
        start = loop.time()
        with pytest.raises(OperationalError):
            await call()
        assert loop.time() - start < 30


async def test_an_election_fails_as_upstream_does(
    make_desk: Callable[..., Desk],
) -> None:
    app = make_desk("redis").app

    @app.task(name="elected", shared=False)
    def elected() -> None:
        pass

    # Upstream unpacks what the backend returns, which is None.
    with pytest.raises(TypeError):
        elected.s().election()
    with pytest.raises(TypeError):
        await elected.s().aelection()
    with pytest.raises(NotRegistered):
        await app.signature("unheard").aelection()
    assert await app.control.aelection("id", "topic") is None
