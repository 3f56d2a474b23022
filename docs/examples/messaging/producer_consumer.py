"""A producer, and a consumer whose callback is an ordinary function.

    python producer_consumer.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    processing: {'filename': 'video.mp4', 'size': 1024}
"""

import asyncio
import sys

from kombu import Connection, Exchange, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


def process_video(body, message):
    """Handle one message; sync callbacks settle with the sync methods."""
    print("processing:", body)
    message.ack()


async def main(url="memory://"):
    """Declare an exchange and a queue, publish, and consume."""
    exchange = Exchange("example.media", type="direct")
    queue = Queue("example.video", exchange=exchange, routing_key="video")

    async with Connection(url) as conn:
        async with conn.Producer(exchange=exchange) as producer:
            await producer.apublish(
                {"filename": "video.mp4", "size": 1024},
                routing_key="video",
                declare=[queue],
            )

        async with conn.Consumer([queue], callbacks=[process_video]):
            await conn.adrain_events(timeout=5)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
