"""Put a message into a simple queue and get it back.

    python simple_queue.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    {'hello': 'world'}
"""

import asyncio
import sys

from kombu import Connection

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Publish and consume with the simplest interface."""
    async with Connection(url) as conn, conn.SimpleQueue("example.simple") as queue:
        await queue.aput({"hello": "world"})

        message = await queue.aget(timeout=5)
        print(message.payload)
        await message.aack()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
