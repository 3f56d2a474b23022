"""One event for every service that listens.

    python broadcast.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    email: {'event': 'user_signup', 'user_id': 123}
    sms: {'event': 'user_signup', 'user_id': 123}
"""

import asyncio
import sys
from contextlib import suppress

from kombu import Connection, Exchange, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Publish to a fanout exchange with two queues."""
    notifications = Exchange("example.notifications", type="fanout")
    heard = {}

    async def service(conn, name):
        queue = Queue(f"example.{name}", notifications, auto_delete=True)

        async def notify(body, message):
            heard[name] = body

        # On Redis a channel has one queue for an exchange, so each gets its own.
        channel = await conn.achannel()
        return conn.Consumer([queue], channel, callbacks=[notify], no_ack=True)

    async with (
        Connection(url) as conn,
        await service(conn, "email"),
        await service(conn, "sms"),
    ):
        # Redis remembers nothing for those who do not listen yet.
        while len(heard) < 2:
            await conn.Producer().apublish(
                {"event": "user_signup", "user_id": 123}, exchange=notifications
            )
            with suppress(TimeoutError):
                await conn.adrain_events(timeout=0.2)

    for name, event in sorted(heard.items()):
        print(f"{name}: {event}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
