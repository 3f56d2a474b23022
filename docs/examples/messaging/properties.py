"""Headers and properties travel with a message.

    python properties.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    priority: high
    source: api
    timestamp: 1704067200
"""

import asyncio
import sys

from kombu import Connection, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Send a message with headers and properties and look at them."""
    queue = Queue("example.properties")
    async with Connection(url) as conn:
        await conn.Producer().apublish(
            {"data": "important"},
            routing_key=queue.name,
            headers={"priority": "high", "source": "api"},
            timestamp=1704067200,
            declare=[queue],
        )
        message = await queue(conn).aget(no_ack=True)
        print("priority:", message.headers["priority"])
        print("source:", message.headers["source"])
        sent = message.properties["timestamp"]
        print("timestamp:", int(getattr(sent, "timestamp", lambda: sent)()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
