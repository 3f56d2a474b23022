"""Three producers and two consumers share a queue.

    python many.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    received: 15
    producers: [0, 1, 2]
"""

import asyncio
import sys

from kombu import Connection, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Run all of them at once, each on a connection of its own."""
    queue = Queue("example.shared")
    received, everything = [], asyncio.Event()

    async def produce(producer_id):
        async with Connection(url) as conn:
            producer = conn.Producer()
            for number in range(5):
                await producer.apublish(
                    [producer_id, number], routing_key=queue.name, declare=[queue]
                )

    async def consume():
        async with Connection(url) as conn:
            await queue(conn).adeclare()
            async for message in queue(conn):
                received.append(message.payload)
                await message.aack()
                if len(received) == 15:
                    everything.set()

    consumers = [asyncio.create_task(consume()) for _ in range(2)]
    await asyncio.gather(*(produce(number) for number in range(3)))
    await everything.wait()
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)

    print("received:", len(received))
    print("producers:", sorted({producer for producer, _ in received}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
