from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import Empty
from typing import Any

import kombu.simple
import pytest
from kombu import Exchange, Queue

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
SimpleQueue: Any = kombu.simple.SimpleQueue
Named = Callable[..., str]


async def test_put_and_get(url: str, named: Named) -> None:
    name = named()
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(name) as queue:
            assert await queue.aput({"a": 1}, headers={"h": 2}) is None
            with Connection(url) as other:
                sync = other.SimpleQueue(name)
                sync.put({"a": 2}, headers={"h": 2})
                sync.close()
            for expected in (1, 2):
                message = await queue.aget(timeout=30)
                assert message.payload == {"a": expected}
                assert message.headers["h"] == 2
                await message.aack()
                assert message.acknowledged


async def test_empty_is_what_the_sync_twin_raises(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named()) as queue:
            for wait in (queue.aget(timeout=0.2), queue.aget(block=False)):
                with pytest.raises(Empty):
                    await wait
            with pytest.raises(Empty):
                await queue.aget_nowait()
            with pytest.raises(Empty):
                queue.get(timeout=0.01)


async def test_nowait_finds_what_is_there(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named(), no_ack=True) as queue:
            await queue.aput(1)
            await queue.aput(2)
            assert (await queue.aget_nowait()).payload == 1
            assert (await queue.aget(block=False)).payload == 2


async def test_size_and_clear(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named()) as queue:
            for number in range(3):
                await queue.aput(number)
            # RabbitMQ counts late.
            while queue.qsize() < 3:  # noqa: ASYNC110 - another process counts
                await asyncio.sleep(0.01)
            assert await queue.aqsize() == 3
            assert await queue.aclear() == 3
            assert queue.clear() == 0


async def test_one_that_was_built_by_sync_code(url: str, named: Named) -> None:
    with Connection(url) as connection:
        queue: Any = SimpleQueue(connection, Queue(named(), Exchange("")))
        async with queue as entered:
            assert entered is queue
            await queue.aput("x", routing_key=queue.queue.name)
            assert (await queue.aget(timeout=30)).payload == "x"
        assert not queue.consumer.consuming_from(queue.queue)


async def test_what_cannot_be_encoded_is_not_sent(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named()) as queue:
            with pytest.raises(Exception) as expected:  # noqa: PT011 - any
                queue.put(object())
            with pytest.raises(type(expected.value)):
                await queue.aput(object())
            await queue.aput("x")
            assert (await queue.aget(timeout=30)).payload == "x"
            with pytest.raises(Empty):
                await queue.aget_nowait()


async def test_many_wait_for_two_queues_of_one_connection(
    url: str, named: Named
) -> None:
    first, second = named("a"), named("b")
    async with Connection(url) as one, Connection(url) as other:
        connection: Any = one
        producer: Any = other.Producer()
        async with (
            connection.asimple_queue(first, no_ack=True) as a,
            connection.asimple_queue(second, no_ack=True) as b,
        ):
            began = time.monotonic()
            waits = [asyncio.ensure_future(q.aget(timeout=60)) for q in (a, b) * 4]
            await asyncio.sleep(0.2)
            for number in range(4):
                # First the one that fewer wait for as a rule: whoever drains the
                # connection gets the message of somebody else.
                await producer.apublish(f"b{number}", routing_key=second)
                await producer.apublish(f"a{number}", routing_key=first)
            got = [message.payload for message in await asyncio.gather(*waits)]
            assert time.monotonic() - began < 45
            assert sorted(got[::2]) == ["a0", "a1", "a2", "a3"]
            assert sorted(got[1::2]) == ["b0", "b1", "b2", "b3"]


async def test_cancelled_gets_lose_nothing(url: str, named: Named) -> None:
    """Thirty cancellations while another thread sends as fast as it can."""
    name, total = named(), 300
    stop = threading.Event()

    def produce() -> None:
        with Connection(url) as connection:
            producer = connection.Producer()
            for number in range(total):
                producer.publish(number, routing_key=name)
                if stop.wait(0.002):
                    return

    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(name, no_ack=True) as queue:
            thread = threading.Thread(target=produce)
            thread.start()
            got: list[int] = []
            cancelled = 0
            try:
                for turn in range(1000):
                    call = asyncio.ensure_future(queue.aget(timeout=20))
                    if cancelled < 30:
                        # Everything from "not yet begun" to "just arrived".
                        await asyncio.sleep((turn % 10) * 0.0007)
                        call.cancel()
                    try:
                        got.append((await call).payload)
                    except asyncio.CancelledError:
                        cancelled += 1
                    except Empty:
                        break
                    if len(got) == total:
                        break
            finally:
                stop.set()
                thread.join(30)
            with pytest.raises(Empty):
                await queue.aget(timeout=0.2)
    assert cancelled == 30
    assert got == list(range(total))


async def test_a_message_for_one_who_was_cancelled_reaches_another(
    url: str, named: Named
) -> None:
    name = named()
    async with Connection(url) as one, Connection(url) as other:
        connection: Any = one
        producer: Any = other.Producer()
        async with connection.asimple_queue(name, no_ack=True) as queue:
            first = asyncio.ensure_future(queue.aget(timeout=60))
            await asyncio.sleep(0.15)
            second = asyncio.ensure_future(queue.aget(timeout=60))
            await asyncio.sleep(0.05)
            await producer.apublish(1, routing_key=name)
            first.cancel()
            done, _ = await asyncio.wait({first}, timeout=10)
            assert done
            if first.cancelled():
                assert (await asyncio.wait_for(second, 30)).payload == 1
            else:
                assert first.result().payload == 1
                second.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await second
