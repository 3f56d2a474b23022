"""A task that is tried again.

celery -A retries -b redis://localhost worker -P asyncio
python retries.py [redis://localhost|amqp://guest:guest@localhost// [SECONDS]]
"""

import asyncio
import random
import sys

from celery import Celery
from celery.exceptions import MaxRetriesExceededError

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("add", "app", "main")

app = Celery()
app.conf.update(
    result_backend="redis://localhost:6379",
)


@app.task(name="add-two-numbers", bind=True, max_retries=3)
async def add(self, a, b):
    """Succeed one time in four."""
    if random.random() > 0.25:
        # Sends task to queue and raises `celery.exceptions.Retry` exception.
        await self.aretry(countdown=2)
    return a + b


async def main(broker=None, seconds=30):
    """Send one, and see whether it succeeds."""
    if broker:
        app.conf.update(broker_url=broker)
    async with app.setup():
        result = await add.adelay(2, 3)
        try:
            print("Result is", await result.aget(timeout=float(seconds)))
        except MaxRetriesExceededError:
            print("Tried four times")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
