"""Declare and consume on a channel.

    python channel.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    received: {'message': 'Hello, World!'}
"""

import asyncio
import sys

from kombu import Connection, Consumer, Producer, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Use the methods of the channel itself."""
    async with Connection(url) as conn:
        channel = await conn.achannel()
        await channel.aqueue_declare("example.channel", durable=True, auto_delete=False)

        producer = Producer(channel, routing_key="example.channel")
        await producer.apublish({"message": "Hello, World!"})

        def callback(body, message):
            print("received:", body)
            message.ack()

        queue = Queue("example.channel")
        async with Consumer(channel, queues=[queue], callbacks=[callback]):
            await conn.adrain_events(timeout=5)
        await channel.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
