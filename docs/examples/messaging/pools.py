"""Connections and producers from pools.

    python pools.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    limit: 2
    received: [0, 1, 2]
"""

import asyncio
import sys

import kombu.pools
from kombu import Connection, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Three tasks share two producers."""
    queue = Queue("example.pools")
    connections = kombu.pools.connections[Connection(url)]
    producers = kombu.pools.producers[Connection(url)]
    await producers.aset_limit(2)

    async def send(number):
        async with producers.aacquire(block=True) as producer:
            await producer.apublish(number, routing_key=queue.name, declare=[queue])

    await asyncio.gather(*(send(number) for number in range(3)))
    print("limit:", producers.limit)

    received = []
    async with connections.aacquire(block=True) as conn:
        bound = await queue.abind(conn)
        while len(received) < 3:
            message = await bound.aget(no_ack=True)
            if message is not None:
                received.append(message.payload)
    print("received:", sorted(received))
    await kombu.pools.areset()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
