# The stubs of celery and kombu know neither the twins nor their private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,import-untyped"
# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import kombu
import pytest
from celery import chord, group
from kombu import pools
from kombu.exceptions import LimitExceeded, OperationalError

from celery_async_bridge.core.loops import aclose_loop
from celery_async_bridge.core.trampoline import await_, spawn
from celery_async_bridge.mixins.celery import _producers as module
from celery_async_bridge.mixins.celery._producers import LIMIT, LoopProducers
from celery_async_bridge.testing.tripwire import tripwire
from tests.integration.apps import an_app
from tests.unit._memory import memory_app
from tests.unit.core.help import closed_port, until

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def pool() -> Iterator[Any]:
    """A pool of Kombu, whose connections need no server."""
    with kombu.Connection("memory://") as connection:
        connections = connection.Pool(2)
        yield pools.ProducerPool(connections, limit=2)
        connections.force_close_all()


@pytest.fixture
def redis_app(redis_url: str, unique: str) -> Iterator[Any]:
    with tripwire(), an_app(redis_url, "", unique) as app:
        yield app


# -- lending --------------------------------------------------------------------------


async def test_a_producer_comes_back(pool: Any) -> None:
    producers = LoopProducers(pool, 2)

    def work() -> None:
        first = producers.acquire(block=True)
        second = producers.acquire(block=True)
        assert first is not second
        assert first.__connection__ is not second.__connection__
        assert isinstance(first, kombu.Producer)
        second.release()
        assert producers.acquire(block=True) is second

    await spawn(work)
    assert producers.connections is pool.connections


async def test_releasing_twice_gives_it_back_once(pool: Any) -> None:
    producers = LoopProducers(pool, 2)

    def work() -> None:
        first = producers.acquire()
        first.release()
        first.release()
        assert producers.acquire() is first
        assert producers.acquire() is not first
        with pytest.raises(LimitExceeded):
            producers.acquire()

    await spawn(work)


async def test_a_with_block_gives_it_back(pool: Any) -> None:
    producers = LoopProducers(pool, 1)

    def work(fails: bool) -> None:
        with producers.acquire(block=True):
            if fails:
                raise KeyError

    for fails in (False, True, True):
        if fails:
            with pytest.raises(KeyError):
                await spawn(lambda: work(True))
        else:
            await spawn(lambda: work(False))
    assert len(producers._free) == 1


async def test_who_holds_one_does_not_wait_for_another(pool: Any) -> None:
    producers = LoopProducers(pool, 1)
    holds, goes_on = asyncio.Event(), asyncio.Event()
    waited: list[bool] = []

    def nested() -> None:
        with producers.acquire(block=True) as first:
            holds.set()
            await_(goes_on.wait())
            with producers.acquire(block=True) as second:
                assert second is not first

    def other() -> None:
        with producers.acquire(block=True):
            waited.append(goes_on.is_set())

    outer = asyncio.ensure_future(spawn(nested))
    await holds.wait()
    waiting = asyncio.ensure_future(spawn(other))
    await until(lambda: producers._waiting)
    goes_on.set()
    await asyncio.gather(outer, waiting)
    assert waited == [True]
    # What was too many is gone again.
    assert len(producers._free) == 1
    assert not producers._holders


async def test_more_nested_canvases_than_producers_are_sent(redis_app: Any) -> None:
    add = redis_app.add
    canvas = group(add.s(1, 1), chord([add.s(1, 1), add.s(2, 2)], add.si(1, 1)))
    redis_app.conf.result_backend = redis_app.conf.broker_url
    sends = (canvas.aapply_async(publish_timeout=60) for _ in range(LIMIT + 8))
    assert len(await asyncio.gather(*sends)) == LIMIT + 8


async def test_those_who_wait_are_served_in_their_order(pool: Any) -> None:
    producers = LoopProducers(pool, 2)
    order: list[int] = []
    holding: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        producer = producers.acquire(block=True)
        order.append(number)
        holding.append(number)
        most.append(len(holding))
        await_(asyncio.sleep(0.001))
        holding.remove(number)
        producer.release()

    await asyncio.gather(*(spawn(partial(work, n)) for n in range(30)))
    assert order == list(range(30))
    assert max(most) == 2


async def test_nobody_waits_for_ever_who_does_not_want_to(pool: Any) -> None:
    producers = LoopProducers(pool, 1)
    held = await spawn(producers.acquire)
    with pytest.raises(LimitExceeded):
        await spawn(producers.acquire)
    with pytest.raises(LimitExceeded):
        await spawn(lambda: producers.acquire(block=True, timeout=0.02))
    held.release()
    assert await spawn(lambda: producers.acquire(block=True, timeout=5)) is held


@pytest.mark.parametrize("when", ["waiting", "served"])
async def test_who_leaves_takes_none_along(pool: Any, when: str) -> None:
    producers = LoopProducers(pool, 1)
    held = await spawn(producers.acquire)
    tasks = [
        asyncio.ensure_future(spawn(lambda: producers.acquire(block=True)))
        for _ in range(2)
    ]
    await until(lambda: len(producers._waiting) == 2)
    if when == "waiting":
        tasks[0].cancel()
        await asyncio.sleep(0)
        held.release()
    else:
        held.release()
        tasks[0].cancel()
    found: Any = await asyncio.gather(tasks[0], return_exceptions=True)
    if found[0] is held:  # before Python 3.12 `wait_for` prefers what it has got
        held.release()
    assert await asyncio.wait_for(tasks[1], 5) is held


async def test_a_call_that_is_closed_takes_none_along(pool: Any) -> None:
    producers = LoopProducers(pool, 1)
    held = await spawn(producers.acquire)
    waiting = producers._next(None)
    waiting.send(None)
    waiting.close()
    held.release()
    assert await spawn(lambda: producers.acquire(block=True, timeout=5)) is held


async def test_one_that_cannot_be_made_uses_up_no_place(pool: Any) -> None:
    class Broken:
        LimitExceeded = LimitExceeded
        connections = pool.connections
        fails = True

        def Producer(self, connection: Any) -> Any:
            if self.fails:
                raise OSError("no")
            return pool.Producer(connection)

    broken = Broken()
    producers = LoopProducers(broken, 1)
    for _ in range(3):
        with pytest.raises(OSError, match="no"):
            await spawn(producers.acquire)
    broken.fails = False
    assert isinstance(await spawn(producers.acquire), kombu.Producer)


async def test_who_leaves_leaves_them_to_those_who_come(pool: Any) -> None:
    producers = LoopProducers(pool, 3)
    found = [await spawn(producers.acquire) for _ in range(3)]
    for producer in found[:2]:
        producer.release()
    producers.leave()
    heirs = LoopProducers(pool, 3)
    again = [await spawn(heirs.acquire) for _ in range(3)]
    assert len(set(map(id, again)) & set(map(id, found[:2]))) == 2
    assert found[2] not in again
    with pytest.raises(LimitExceeded):
        await spawn(heirs.acquire)
    # The one that was lent meanwhile goes back to where it came from.
    found[2].release()
    assert await spawn(producers.acquire) is found[2]


async def test_they_are_not_used_by_two_loops(pool: Any) -> None:
    first, second = LoopProducers(pool, 1), LoopProducers(pool, 1)
    (await spawn(first.acquire)).release()
    first.leave()
    mine = await spawn(second.acquire)
    assert await spawn(first.acquire) is not mine


async def test_an_app_that_is_reset_gets_others(redis_app: Any) -> None:
    mine = await spawn(lambda: redis_app.producer_pool)
    assert mine.serves(redis_app.producer_pool)
    redis_app.amqp._producer_pool = None
    pools.reset()
    other = await spawn(lambda: redis_app.producer_pool)
    assert other is not mine
    assert other.serves(redis_app.producer_pool)


# -- the app --------------------------------------------------------------------------


async def test_an_app_has_its_own_only_in_a_call_on_a_loop(redis_app: Any) -> None:
    plain = redis_app.producer_pool
    assert isinstance(plain, pools.ProducerPool)
    mine = await spawn(lambda: redis_app.producer_pool)
    assert isinstance(mine, LoopProducers)
    assert mine.limit == LIMIT
    assert await spawn(lambda: redis_app.producer_pool) is mine
    assert redis_app.producer_pool is plain
    found: list[Any] = []

    async def other() -> None:
        found.append(await spawn(lambda: redis_app.producer_pool))

    thread = threading.Thread(target=asyncio.run, args=(other(),))
    thread.start()
    await until(lambda: not thread.is_alive())
    assert isinstance(found[0], LoopProducers)
    assert found[0] is not mine
    await aclose_loop()
    assert await spawn(lambda: redis_app.producer_pool) is not mine


async def test_where_nothing_is_suspended_upstreams_pool_serves(unique: str) -> None:
    app = memory_app(unique)
    assert await spawn(lambda: app.producer_pool) is app.producer_pool


async def test_more_calls_than_producers(
    redis_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make = LoopProducers._make

    def counted(self: Any) -> Any:
        made.append(self)
        return make(self)

    monkeypatch.setattr(LoopProducers, "_make", counted)
    found = await asyncio.gather(
        *(spawn(partial(redis_app.add.apply_async, (1, n))) for n in range(300))
    )
    assert len({result.id for result in found}) == 300
    assert 1 < len(made) <= LIMIT
    producers = made[0]
    assert len(producers._free) == len(made)
    assert producers._left == LIMIT - len(made)
    assert not producers._waiting


async def test_a_send_that_fails_is_nobody_elses_affair(
    redis_app: Any, redis_url: str, unique: str
) -> None:
    """With a shared connection the first failure pulled it from under the others."""
    import redis

    wrong = f"{unique}.wrong"
    with redis.Redis.from_url(redis_url) as client:
        await asyncio.to_thread(client.set, f"{unique}:{wrong}", "not a list")

        def send(number: int) -> Any:
            queue = wrong if number % 5 == 0 else None
            return redis_app.add.apply_async((1, number), queue=queue, retry=False)

        found = await asyncio.gather(
            *(spawn(partial(send, n)) for n in range(100)), return_exceptions=True
        )
        failed = [number for number, one in enumerate(found) if _failed(one)]
        assert failed == list(range(0, 100, 5))
        name = f"{unique}:{redis_app.conf.task_default_queue}"
        assert await asyncio.to_thread(client.llen, name) == 80
    (producers,) = module._local.get().values()
    assert len(producers._free) + producers._left == LIMIT


def _failed(one: Any) -> bool:
    assert not isinstance(one, AttributeError)
    return isinstance(one, BaseException)


async def test_nobody_listens(unique: str) -> None:
    with an_app(f"redis://127.0.0.1:{closed_port()}/0", "", unique) as app:
        app.conf.broker_connection_timeout = 0.5
        errors = await asyncio.gather(
            *(
                spawn(lambda: app.add.apply_async((1, 2), retry=False))
                for _ in range(20)
            ),
            return_exceptions=True,
        )
    assert {type(error) for error in errors} == {OperationalError}


async def test_an_app_that_is_gone_is_not_kept(redis_url: str, unique: str) -> None:
    with an_app(redis_url, "", unique) as app:
        await spawn(partial(app.add.apply_async, (1, 2)))
        assert len(module._local.get()) == 1
    app_is = weakref.ref(app)
    del app
    await asyncio.sleep(0)
    gc.collect()
    assert app_is() is None
    assert len(module._local.get()) == 0
