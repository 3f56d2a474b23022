"""A consumer program: it runs until it is told to stop.

    python worker.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    working on: 1
    working on: 2
    working on: 3
"""

import asyncio
import sys

from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


class Worker(ConsumerMixin):
    """Do what comes, two messages at a time."""

    def __init__(self, connection):
        self.connection = connection
        self.done = 0

    def get_consumers(self, Consumer, channel):
        """Say what is consumed, and how."""
        return [Consumer([WORK], callbacks=[self.work], prefetch_count=2)]

    async def work(self, body, message):
        """Handle one message."""
        print("working on:", body)
        await message.aack()
        self.done += 1
        self.should_stop = self.done == 3


async def main(url="memory://"):
    """Start a worker beside the code that sends."""
    async with Connection(url) as conn:
        await WORK(conn).adeclare()
        running = asyncio.create_task(Worker(conn).arun())
        for number in (1, 2, 3):
            await conn.Producer().apublish(number, routing_key=WORK.name)
        await running


WORK = Queue("example.work")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
