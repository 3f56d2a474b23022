"""Publish 50,000 messages at once, for the worker of `hello.py`.

python publish.py [redis://localhost|amqp://guest:guest@localhost// [NUMBER]]
"""

import asyncio
import sys

from hello import add, app

__all__ = ("main",)


async def main(broker=None, number=50_000):
    """Send them all; the last one has to wait for those before it."""
    app.conf.update(async_publish_timeout=600)
    if broker:
        app.conf.update(broker_url=broker)
    async with app.setup():
        tasks = [add.adelay(n, n) for n in range(int(number))]
        await asyncio.gather(*tasks)
    print("Published", len(tasks))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
