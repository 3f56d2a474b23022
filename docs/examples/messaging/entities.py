"""Exchanges and queues are declarations; bound ones can do things.

    python entities.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    a copy: True
    unbound: Can't call method on Exchange not bound to a channel
    bound: deleted
"""

import asyncio
import pickle
import sys

from kombu import Connection, Exchange
from kombu.exceptions import NotBoundError

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Pickle, bind and delete an exchange."""
    exchange = Exchange("example.entities", "direct")
    print("a copy:", pickle.loads(pickle.dumps(exchange)) == exchange)

    try:
        await exchange.adelete()
    except NotBoundError as exc:
        print("unbound:", exc)

    async with Connection(url) as conn:
        bound = exchange(conn)
        await bound.adeclare()
        await bound.adelete()
        print("bound: deleted")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
