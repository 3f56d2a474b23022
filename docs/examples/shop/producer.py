"""An async producer: orders come in, tasks go out, the loop never waits.

Run it with a worker beside it, both with the same SHOP_BROKER and SHOP_BACKEND:

    celery -A shop.app worker
    python -m shop.producer
"""

import asyncio

from celery import chord, group

import celery_async_bridge
from shop.app import app
from shop.tasks import price, total

__all__ = ("checkout", "main")

ORDER = {"tea": 2, "milk": 1, "bread": 3}


async def checkout(order):
    """Price every line of an order at once and return the sum."""
    lines = [price.s(item, count) for item, count in order.items()]
    result = await chord(lines, total.s()).aapply_async()
    return await result.aget(timeout=10)


async def quote(order):
    """Price every line of an order, in the order of its lines."""
    result = await group(
        price.s(item, count) for item, count in order.items()
    ).aapply_async()
    return await result.ajoin(timeout=10)


async def main():
    """Check out one order."""
    celery_async_bridge.install()
    async with celery_async_bridge.lifespan(app):
        print("lines:", await quote(ORDER))
        print("total:", await checkout(ORDER))


if __name__ == "__main__":
    asyncio.run(main())
