"""A task that needs no app to be defined.

celery -A shared_tasks -b redis://localhost worker -P asyncio
python shared_tasks.py [redis://localhost|amqp://guest:guest@localhost// [SECONDS]]
"""

import asyncio
import sys

from celery import Celery, shared_task

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("add", "app", "main")


@shared_task
async def add(a, b):
    """Belong to every app of the process."""
    return a + b


#: The task is already registered on it; named, as in `app_context.py`.
app = Celery("shared_tasks")
app.conf.update(
    result_backend="redis://localhost:6379",
)


async def main(broker=None, seconds=10):
    """Send one through the current app."""
    if broker:
        app.conf.update(broker_url=broker)
    async with app.setup():
        result = await add.adelay(2, 3)
        print("Result is", await result.aget(timeout=float(seconds)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
