"""Without `async with`: open, use and close by hand.

    python without_with.py [memory://|redis://localhost|amqp://guest:guest@localhost//]

Prints:

    got: 1
    consuming: False
    connected: False
"""

import asyncio
import sys

from kombu import Connection, Consumer, Producer, Queue

import celery_async_bridge

celery_async_bridge.install()

__all__ = ("main",)


async def main(url="memory://"):
    """Close what was opened, in the opposite order."""
    connection = Connection(url)
    await connection.aconnect()
    channel = await connection.achannel()

    queue = Queue("example.by_hand")
    await Producer(channel).apublish(1, routing_key=queue.name, declare=[queue])

    def my_callback(body, message):
        print("got:", body)
        message.ack()

    consumer = Consumer(channel, [queue])
    consumer.register_callback(my_callback)
    await consumer.aconsume()
    await connection.adrain_events(timeout=5)
    await consumer.acancel()
    print("consuming:", consumer.consuming_from(queue))

    await channel.aclose()
    await connection.arelease()
    print("connected:", connection.connected)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
