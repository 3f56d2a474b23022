"""Direct, topic and fanout: which queues get a message.

    python exchange_types.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    direct: images
    topic: usd.stock.db -> ['stock']
    topic: nasdaq.usd.stock -> []
    fanout: ['copy-1', 'copy-2']
"""

import asyncio
import sys
from contextlib import suppress

from kombu import Connection, Exchange, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Publish through each of the types and see what arrives where."""
    async with Connection(url) as conn:
        await direct(conn)
        await topic(conn)
        await fanout(conn)


async def direct(conn):
    """Deliver where the routing key is the same."""
    exchange = Exchange("example.direct", type="direct")
    queues = {
        key: Queue(f"example.direct.{key}", exchange, routing_key=key)
        for key in ("images", "videos")
    }
    await conn.Producer().apublish(
        "x", exchange=exchange, routing_key="images", declare=list(queues.values())
    )
    for key, queue in queues.items():
        message = await queue(conn).aget(no_ack=True)
        if message is not None:
            print("direct:", key)


async def topic(conn):
    """Deliver where the pattern fits: `*` is a word, `#` any number of words."""
    exchange = Exchange("example.topic", type="topic")
    queue = Queue("example.topic.stock", exchange, routing_key="*.stock.#")
    for key in ("usd.stock.db", "nasdaq.usd.stock"):
        await conn.Producer().apublish(
            "x", exchange=exchange, routing_key=key, declare=[queue]
        )
        message = await queue(conn).aget(no_ack=True)
        print("topic:", key, "->", ["stock"] if message else [])


async def fanout(conn):
    """Deliver to every queue."""
    exchange = Exchange("example.fanout", type="fanout")
    heard = set()

    async def consumer(name):
        queue = Queue(f"example.fanout.{name}", exchange, auto_delete=True)
        # On Redis a channel has one queue for an exchange, so each gets its own.
        return conn.Consumer(
            [queue],
            await conn.achannel(),
            no_ack=True,
            callbacks=[lambda *_: heard.add(name)],
        )

    async with await consumer("copy-1"), await consumer("copy-2"):
        # Redis remembers nothing for those who do not listen yet.
        while len(heard) < 2:
            await conn.Producer().apublish("x", exchange=exchange)
            with suppress(TimeoutError):
                await conn.adrain_events(timeout=0.2)
    print("fanout:", sorted(heard))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
