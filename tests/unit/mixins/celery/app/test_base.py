"""The app: sending by name, pools, producers, and the end."""

from __future__ import annotations

# Type checkers know neither the grafted methods nor the decorator of an untyped app.
# mypy: disable-error-code="attr-defined,untyped-decorator,type-arg"
import asyncio
import inspect
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, uuid
from celery.exceptions import AlwaysEagerIgnored

from celery_async_bridge.core.loops import LoopLocal
from celery_async_bridge.errors import PublishTimeout
from tests.unit.mixins.celery.conftest import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.mixins.celery.conftest import Desk


async def test_asend_task_sends_what_send_task_sends(desk: Desk) -> None:
    options: dict[str, Any] = {"task_id": uuid(), "headers": {"a": 1}, "priority": 2}
    desk.app.send_task("some", (1,), {"b": 2}, **options)
    result = await desk.app.asend_task("some", (1,), {"b": 2}, **options)
    first, second = desk.sent()
    assert masked(first) == masked(second)
    assert result.id == options["task_id"]


async def test_asend_task_sends_in_eager_mode_and_warns(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk("memory", task_always_eager=True)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno  # type: ignore[union-attr]
        desk.app.send_task("some")
        await desk.app.asend_task("some")
    # The lines that have sent, and none of the bridge's.
    assert [(one.category, one.filename, one.lineno) for one in found] == [
        (AlwaysEagerIgnored, __file__, line + 1),
        (AlwaysEagerIgnored, __file__, line + 2),
    ]
    assert len(desk.sent()) == 2


async def test_fifty_sends_at_once(desk: Desk) -> None:
    await asyncio.gather(
        *(desk.app.asend_task("x", (n,), ignore_result=True) for n in range(50))
    )
    assert len(desk.sent()) == 50


async def test_a_producer_and_a_connection_are_given_back(desk: Desk) -> None:
    app = desk.app
    async with app.aproducer_or_acquire() as producer:
        async with app.aproducer_or_acquire(producer) as same:
            assert same is producer
        app.send_task("x", producer=producer, ignore_result=True)
        assert app.producer_pool._dirty == {producer}
    assert not app.producer_pool._dirty
    async with app.aconnection_or_acquire() as connection:
        assert connection in app.pool._dirty
    assert not app.pool._dirty
    async with app.aconnection_or_acquire(pool=False) as connection:
        assert connection not in app.pool._dirty
    assert len(desk.sent()) == 1


@pytest.mark.parametrize("stack", ["memory", "redis"])
async def test_many_more_holders_than_the_pool_has(
    make_desk: Callable[..., Desk], stack: str
) -> None:
    desk = make_desk(stack, broker_pool_limit=3, async_publish_timeout=60)
    app, held = desk.app, [0, 0]

    async def hold(make: Any) -> None:
        async with make() as one:
            held[0] += 1
            held[1] = max(held)
            if make == app.aproducer_or_acquire:
                await app.asend_task("x", producer=one, ignore_result=True)
            async with make(one) as same:
                assert same is one
            await asyncio.sleep(0.01)
            held[0] -= 1

    makers = [app.aproducer_or_acquire, app.aconnection_or_acquire]
    await asyncio.gather(
        *(hold(make) for make in makers * 20),
        *(app.asend_task("y", ignore_result=True) for _ in range(60)),
    )
    assert held[1] <= 3
    assert len(desk.sent()) == 80
    assert not app.pool._dirty


async def test_those_who_leave_the_queue_take_nothing_along(
    make_desk: Callable[..., Desk],
) -> None:
    app = make_desk("redis", broker_pool_limit=2, async_publish_timeout=3).app

    async def hold() -> None:
        async with app.aproducer_or_acquire():
            pass

    async with app.aproducer_or_acquire(), app.aproducer_or_acquire():
        waiting = [asyncio.ensure_future(hold()) for _ in range(6)]
        await asyncio.sleep(0.1)
        for one in waiting[:3]:
            one.cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in outcomes] == (
        [asyncio.CancelledError] * 3 + [PublishTimeout] * 3
    )
    async with app.aproducer_or_acquire(), app.aproducer_or_acquire():
        pass


async def test_pools_and_backend(desk: Desk) -> None:
    app = desk.app
    assert await app.apool() is app.pool
    assert await app.aproducer_pool() is app.producer_pool
    assert await app.amqp.aproducer_pool() is app.amqp.producer_pool
    assert type(await app.abackend()) is type(app.backend)
    assert "celery" in await app.abugreport()


async def test_asend_task_message_with_a_producer(desk: Desk) -> None:
    app = desk.app
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection, auto_declare=False)
        for number in range(2):
            message = app.amqp.create_task_message(f"id{number}", "x", (number,), {})
            await app.amqp.asend_task_message(
                producer, "x", message, queue=app.amqp.queues[desk.queue]
            )
    assert [one["headers"]["id"] for one in desk.sent()] == ["id0", "id1"]


async def test_ataskconsumer_consumes_the_queues_of_the_app(desk: Desk) -> None:
    app = desk.app
    with app.connection_for_read() as connection:
        consumer = await app.amqp.ataskconsumer(connection)
        assert [queue.name for queue in consumer.queues] == [desk.queue]


async def test_the_end_of_the_block_closes_app_and_loop() -> None:
    closed: list[str] = []
    resource = LoopLocal(lambda: "value", closed.append)
    async with Celery(set_as_current=False, broker="memory://") as app:
        assert resource.get() == "value"
        assert app.pool is not None
    assert closed == ["value"]
    assert app._pool is None
