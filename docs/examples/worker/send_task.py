"""Send a task by its name, for a worker that has it, here that of `hello.py`.

celery -A hello -b redis://localhost --result-backend redis://localhost:6379 \
    worker -P asyncio -Q celery,high-priority
python send_task.py [redis://localhost|amqp://guest:guest@localhost// [SECONDS]]
"""

import asyncio
import sys

from celery import Celery

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("app", "main")

app = Celery()
app.conf.update(
    result_backend="redis://localhost:6379",
)


async def main(broker=None, seconds=30):
    """Nothing of the task is imported here."""
    if broker:
        app.conf.update(broker_url=broker)
    async with app.setup():
        result = await app.asend_task(
            "add-two-numbers",
            args=(3, 4),
            queue="high-priority",
            countdown=1,
        )
        print(await result.aget(timeout=float(seconds)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
