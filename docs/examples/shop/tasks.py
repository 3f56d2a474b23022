"""The tasks of the shop. Nothing here knows about the bridge."""

import asyncio
import time

from shop.app import app

__all__ = (
    "OutOfStock",
    "exchange_rate",
    "pack",
    "price",
    "reserve",
    "ship",
    "total",
)

PRICES = {"tea": 4, "milk": 2, "bread": 3}


class OutOfStock(Exception):
    """The item is not on the shelf."""


@app.task
def price(item, count=1):
    """Return what `count` items cost."""
    return PRICES[item] * count


@app.task
def total(prices):
    """Add up the prices of an order."""
    return sum(prices)


@app.task
def reserve(item):
    """Fail: nothing is ever in stock."""
    raise OutOfStock(item)


@app.task(bind=True, max_retries=3)
def ship(self, address):
    """Succeed at the second attempt."""
    if self.request.retries == 0:
        raise self.retry(countdown=0.2)
    return f"shipped to {address} at attempt {self.request.retries + 1}"


@app.task(bind=True)
def pack(self, boxes):
    """Pack boxes one by one and report the progress."""
    for box in range(boxes):
        self.update_state(state="PROGRESS", meta={"packed": box, "of": boxes})
        time.sleep(0.15)
    return boxes


@app.task
async def exchange_rate(currency):
    """Look up a rate; for a worker that runs coroutines."""
    await asyncio.sleep(0.1)
    return {"EUR": 1.0, "USD": 1.1}[currency]
