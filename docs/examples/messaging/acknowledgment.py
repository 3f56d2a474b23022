"""Acknowledge what worked; give back what failed.

    python acknowledgment.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    failed, given back
    done: {'task': 'process_data', 'data_id': 456} again: True
"""

import asyncio
import sys

from kombu import Connection

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Fail once, and have the message delivered again."""
    attempts = 0

    async def process(task):
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise RuntimeError("not this time")

    async with Connection(url) as conn, conn.SimpleQueue("example.tasks") as tasks:
        await tasks.aput({"task": "process_data", "data_id": 456})

        while True:
            message = await tasks.aget(timeout=5)
            try:
                await process(message.payload)
            except RuntimeError:
                await message.areject(requeue=True)
                print("failed, given back")
            else:
                await message.aack()
                print("done:", message.payload, "again:", attempts == 2)
                return


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
