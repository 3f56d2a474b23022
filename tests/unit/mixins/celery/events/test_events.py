"""Events: dispatched, captured, and both cancelled and counted."""

from __future__ import annotations

# Type checkers know neither the grafted methods nor the decorator of an untyped app.
# mypy: disable-error-code="attr-defined,untyped-decorator,type-arg"
import asyncio
import itertools
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.mixins.celery.conftest import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.mixins.celery.conftest import Desk


def _ready(receiver: Any) -> asyncio.Event:
    """What is set when the queue of a receiver is bound."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    original = receiver.on_consume_ready

    def on_consume_ready(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        loop.call_soon_threadsafe(ready.set)

    receiver.on_consume_ready = on_consume_ready
    return ready


async def _capture(app: Any, receiver: Any) -> Any:
    """Start capturing; back when events arrive."""
    ready, heard = _ready(receiver), threading.Event()
    process = receiver.process

    def listen(type: str, event: dict[str, Any]) -> None:
        if type == "probe-up":
            heard.set()
        process(type, event)

    receiver.process = listen
    task = asyncio.ensure_future(receiver.acapture(timeout=60))
    await asyncio.wait_for(ready.wait(), 30)
    # Redis subscribes only when the waiting begins.
    async with app.events.adefault_dispatcher() as dispatcher:
        for _ in range(300):
            await dispatcher.asend("probe-up")
            if heard.is_set():
                return task
            await asyncio.sleep(0.1)
    pytest.fail("no event arrives")


async def _until(receiver: Any, capturing: Any, seen: list[Any], count: int) -> None:
    """Stop capturing when `count` events were seen; `limit` counts more than events."""
    for _ in range(200):
        if len(seen) >= count:
            break
        await asyncio.sleep(0.05)
    receiver.should_stop = True
    await receiver.awakeup_workers()
    await asyncio.wait_for(capturing, 30)


async def test_what_is_dispatched_is_captured(desk: Desk) -> None:
    app, seen = desk.app, []

    def handler(event: dict[str, Any]) -> None:
        if event.get("run") == desk.queue:
            seen.append(event)

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": handler})
        capturing = await _capture(app, receiver)
        async with app.events.adefault_dispatcher(hostname="me") as dispatcher:
            await dispatcher.asend("some-thing", run=desk.queue, number=1)
            with app.amqp.producer_pool.acquire(block=True) as producer:
                await dispatcher.apublish(
                    "some-other", {"run": desk.queue, "number": 2}, producer
                )
        with app.connection_for_write() as own:
            async with app.events.Dispatcher(
                own, hostname="me", buffer_group={"late"}, buffer_while_offline=False
            ) as dispatcher:
                await dispatcher.asend("late-one", run=desk.queue, number=3)
                await dispatcher.aflush()
                await dispatcher.adisable()
                await dispatcher.asend("never-sent", run=desk.queue, number=0)
                await dispatcher.aenable()
                await dispatcher.asend("some-last", run=desk.queue, number=4)
        await _until(receiver, capturing, seen, 4)
    assert [event["number"] for event in seen] == [1, 2, 3, 4]
    assert seen[0]["type"] == "some-thing"
    assert seen[0]["hostname"] == "me"


async def test_capturing_step_by_step_ends_when_it_is_left(
    make_desk: Callable[..., Desk],
) -> None:
    app, numbers = make_desk("amqp").app, itertools.count()
    seen: list[Any] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"step": seen.append}, routing_key="step"
        )

        async def send() -> None:
            async with app.events.adefault_dispatcher() as dispatcher:
                await dispatcher.asend("step", number=next(numbers))

        ready = _ready(receiver)
        steps = receiver.aitercapture(wakeup=False, timeout=30)
        first = asyncio.ensure_future(anext(steps))
        await asyncio.wait_for(ready.wait(), 30)
        await send()
        await first
        await send()
        async for _ in steps:
            if len(seen) == 2:
                break
        await steps.aclose()
        await send()
        await asyncio.sleep(0.3)
    assert [event["number"] for event in seen] == [0, 1]


async def test_what_is_emitted_reaches_a_sync_receiver(desk: Desk) -> None:
    app, heard = desk.app, threading.Event()
    seen: list[dict[str, Any]] = []

    def capture() -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection)

            def hear(event: dict[str, Any]) -> None:
                if event.get("run") == desk.queue:
                    seen.append(event)
                    receiver.should_stop = True
                    heard.set()

            receiver.handlers["own-thing"] = hear
            receiver.capture(timeout=60, wakeup=False)

    capturing = asyncio.ensure_future(asyncio.to_thread(capture))
    # Redis subscribes only when the waiting begins.
    for _ in range(300):
        await app.events.aemit("own-thing", hostname="me", run=desk.queue, number=7)
        if heard.is_set():
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("no event arrives")
    await asyncio.wait_for(capturing, 60)
    assert {"type": "own-thing", "hostname": "me", "number": 7}.items() <= (
        seen[0].items()
    )


async def test_events_are_iterated_over(desk: Desk) -> None:
    app, numbers = desk.app, itertools.count()

    async def emit() -> None:
        while True:
            await app.events.aemit("own-thing", run=desk.queue, number=next(numbers))
            await app.events.aemit("other-thing", run=desk.queue)
            await asyncio.sleep(0.05)

    seen = []
    emitting = asyncio.ensure_future(emit())
    events = app.events.areceiver("own.#", timeout=60, wakeup=False)
    async with aclosing(events):
        async for event in events:
            if event.get("run") == desk.queue:
                seen.append(event)
            if len(seen) == 3:
                break
    emitting.cancel()
    await asyncio.wait({emitting})
    assert {event["type"] for event in seen} == {"own-thing"}
    first = seen[0]["number"]
    assert [event["number"] for event in seen] == [first, first + 1, first + 2]


async def test_iterating_over_events_ends_by_its_timeout(desk: Desk) -> None:
    events = desk.app.events.areceiver("never", timeout=0.5, wakeup=False)
    with pytest.raises(TimeoutError):
        await anext(events)


async def test_a_cancelled_capture_ends_soon(desk: Desk) -> None:
    app = desk.app
    loop = asyncio.get_running_loop()
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection)
        capturing = await _capture(app, receiver)
        start = loop.time()
        capturing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await capturing
        assert loop.time() - start < 30  # it would go on for a minute


async def test_the_timeout_of_a_capture_is_upstreams(desk: Desk) -> None:
    with desk.app.connection_for_read() as connection:
        receiver = desk.app.events.Receiver(connection, routing_key="never")
        with pytest.raises(TimeoutError):
            await receiver.acapture(timeout=1, wakeup=False)


async def test_the_small_methods_of_a_receiver(desk: Desk) -> None:
    seen: list[Any] = []
    with desk.app.connection_for_read() as connection:
        receiver = desk.app.events.Receiver(connection, handlers={"a": seen.append})
        await receiver.aprocess("a", {"b": 1})
        await receiver.aprocess("other", {"b": 2})
        assert await receiver.awakeup_workers() is None
        assert (
            await receiver.aon_consume_ready(connection, receiver.channel, []) is None
        )
        (consumer,) = await receiver.aget_consumers(
            lambda **options: connection.Consumer(**options), receiver.channel
        )
        assert consumer.queues == [receiver.queue]
    assert seen == [{"b": 1}]


async def test_many_events_through_one_dispatcher(desk: Desk) -> None:
    with desk.app.connection_for_write() as connection:
        async with desk.app.events.Dispatcher(
            connection, buffer_while_offline=False
        ) as dispatcher:
            await asyncio.gather(
                *(dispatcher.asend("many", number=n) for n in range(40))
            )


async def test_an_event_of_a_task_names_it(make_desk: Callable[..., Desk]) -> None:
    app = make_desk("redis").app
    seen: list[Any] = []

    @app.task(name="eventful", shared=False)
    def eventful() -> None:
        pass

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-half": seen.append})
        capturing = await _capture(app, receiver)
        with running(eventful, id="own", hostname="here"):
            await eventful.asend_event("task-half", done=5)
        await _until(receiver, capturing, seen, 1)
    assert [(one["uuid"], one["done"], one["hostname"]) for one in seen] == [
        ("own", 5, "here")
    ]
