"""Priorities and queues.

celery -A priorities -b amqp://guest:guest@localhost// worker -P asyncio \
    -Q queue-a,queue-b,queue-c
python priorities.py [redis://localhost|amqp://guest:guest@localhost//]

RabbitMQ delivers the highest number first, Kombu's Redis transport the lowest.
"""

import asyncio
import sys

from celery import Celery

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("add", "app", "main")

app = Celery()
app.conf.update(
    task_default_priority=5,  # global default for all tasks
    task_default_queue="queue-a",  # global default for all tasks
    task_queue_max_priority=10,  # sets `x-max-priority` argument for RabbitMQ Queue
)


@app.task(
    name="add-two-numbers",
    priority=6,  # per task default (overrides global default)
    queue="queue-b",  # per task default (overrides global default)
)
async def add(a, b):
    """Add, in any of the queues."""
    await asyncio.sleep(3)
    return a + b


async def main(broker=None):
    """Send one task where the task says, and one elsewhere."""
    if broker:
        app.conf.update(broker_url=broker)
    async with app.setup():
        await add.adelay(2, 3)
        await add.aapply_async(
            args=(2, 3),
            priority=7,  # overrides all defaults
            queue="queue-c",  # overrides all defaults
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
