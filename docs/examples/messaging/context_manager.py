"""A connection is closed at the end of its block.

    python context_manager.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    connected: True
    connected: False
"""

import asyncio
import sys

from kombu import Connection, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Publish a temporary message and leave."""
    async with Connection(url) as conn:
        queue = Queue("example.temporary", auto_delete=True)
        await conn.Producer().apublish(
            "Temporary message", routing_key=queue.name, declare=[queue]
        )
        print("connected:", conn.connected)
        await queue(conn).adelete()
    print("connected:", conn.connected)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
