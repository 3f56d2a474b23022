"""`async for`: one message at a time, until the loop is left.

    python iterate.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    job 0
    job 1
    job 2
    left in the queue: 1
"""

import asyncio
import sys
from contextlib import aclosing

from kombu import Connection, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Take three of four messages; the last one stays in the queue."""
    queue = Queue("example.iterate")

    async with Connection(url) as conn:
        producer = conn.Producer()
        for number in range(4):
            await producer.apublish(
                number, routing_key="example.iterate", declare=[queue]
            )

        bound = queue(conn)
        async with aclosing(aiter(bound)) as messages:
            async for message in messages:
                print("job", message.payload)
                await message.aack()
                if message.payload == 2:
                    break

        last = await bound.aget()
        while last is None:  # RabbitMQ puts it back in its own time
            last = await bound.aget()
        print("left in the queue:", 1 + (await bound.apurge()))
        await last.aack()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
