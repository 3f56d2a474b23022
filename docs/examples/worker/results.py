"""Wait for a result.

celery -A results -b redis://localhost worker -P asyncio
python results.py [redis://localhost|amqp://guest:guest@localhost// [SECONDS]]
"""

import asyncio
import sys

from celery import Celery
from celery.exceptions import TimeoutError

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("app", "foo", "main")

app = Celery()
app.conf.update(
    result_backend="redis://localhost:6379",
)


@app.task(name="do-something")
async def foo(x, y, z):
    """Return a number, after a while."""
    await asyncio.sleep(5)
    return x + y - z


async def main(broker=None, seconds=10):
    """Send one task and wait for it."""
    if broker:
        app.conf.update(broker_url=broker)
    async with app.setup():
        result = await foo.adelay(1, 2, 3)
        try:
            value = await result.aget(timeout=float(seconds))
        except TimeoutError:
            print(f"Result is not ready after {seconds} seconds")
        else:
            print("Result is", value)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
