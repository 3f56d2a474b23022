"""Callbacks that are coroutine functions, three at a time.

    python async_callbacks.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    handled: [0, 1, 2, 3, 4, 5]
    at once: 3
"""

import asyncio
import sys

from kombu import Connection, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Consume with as many callbacks at work as the prefetch limit says."""
    queue = Queue("example.callbacks")
    handled, at_work, three = [], set(), asyncio.Event()
    most = 0

    async def process(body, message):
        nonlocal most
        at_work.add(body)
        most = max(most, len(at_work))
        if len(at_work) == 3:
            three.set()
        await three.wait()  # some work that takes until others have come
        await message.aack()
        at_work.remove(body)
        handled.append(body)

    async with Connection(url) as conn:
        producer = conn.Producer()
        for number in range(6):
            await producer.apublish(
                number, routing_key="example.callbacks", declare=[queue]
            )

        async with conn.Consumer([queue], callbacks=[process], prefetch_count=3):
            while len(handled) < 6:
                await conn.adrain_events(timeout=5)

    print("handled:", sorted(handled))
    print("at once:", most)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
