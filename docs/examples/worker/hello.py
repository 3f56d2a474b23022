"""An async task.

celery -A hello -b redis://localhost worker -P asyncio -c 1000
"""

import asyncio

from celery import Celery

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("add", "app")

app = Celery()


@app.task(name="add-two-numbers")
async def add(a, b):
    """Take five seconds, and nobody's time."""
    await asyncio.sleep(5)
    return a + b
