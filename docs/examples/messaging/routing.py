"""Bind a queue to an exchange, and fetch what was routed to it.

    python routing.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    error log: {'level': 'error', 'message': 'Something went wrong'}
    nothing else: True
"""

import asyncio
import sys

from kombu import Connection, Exchange, Producer, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Declare exchange, queue and binding one by one."""
    async with Connection(url) as conn:
        channel = await conn.achannel()
        options = {"durable": True, "auto_delete": False}
        await channel.aexchange_declare("example.logs", type="direct", **options)
        await channel.aqueue_declare("example.error_logs", **options)
        await channel.aqueue_bind(
            "example.error_logs", "example.logs", routing_key="error"
        )

        producer = Producer(channel, exchange=Exchange("example.logs"))
        for level, text in (("info", "All is well"), ("error", "Something went wrong")):
            await producer.apublish(
                {"level": level, "message": text}, routing_key=level
            )

        queue = Queue("example.error_logs")(channel)
        message = await queue.aget(no_ack=True)
        print("error log:", message.payload)
        print("nothing else:", await queue.aget(no_ack=True) is None)
        await channel.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
