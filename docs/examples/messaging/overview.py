"""Several queues, one consumer.

    python overview.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    video: /tmp/lolcat1.avi
    image: /tmp/lolcat1.png
"""

import asyncio
import sys

from kombu import Connection, Exchange, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Publish two files and process both."""
    media = Exchange("example.overview", "direct", durable=True)
    video = Queue("example.overview.video", exchange=media, routing_key="video")
    image = Queue("example.overview.image", exchange=media, routing_key="image")
    processed = {}

    def process_media(body, message):
        processed[message.delivery_info["routing_key"]] = body["name"]
        message.ack()

    async with Connection(url) as conn:
        producer = conn.Producer(serializer="json")
        for kind, name in (
            ("video", "/tmp/lolcat1.avi"),
            ("image", "/tmp/lolcat1.png"),
        ):
            # Publishers and consumers both declare the queues: who is first, is.
            await producer.apublish(
                {"name": name, "size": 1301013},
                exchange=media,
                routing_key=kind,
                declare=[video, image],
            )

        async with conn.Consumer([video, image], callbacks=[process_media]):
            while len(processed) < 2:
                await conn.adrain_events(timeout=5)

    for kind in ("video", "image"):
        print(f"{kind}:", processed[kind])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
