from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kombu
import pytest
from kombu import Exchange, binding
from kombu.exceptions import NotBoundError

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue
Named = Callable[..., str]


async def test_a_queue_from_declaration_to_deletion(url: str, named: Named) -> None:
    name = named()
    async with Connection(url) as entered:
        connection: Any = entered
        queue: Any = await Queue(name, Exchange(name), name).abind(connection)
        assert queue.is_bound
        assert queue.channel is connection.default_channel
        assert await queue.adeclare() == queue.declare() == name
        assert tuple(await queue.aqueue_declare())[:2] == (name, 0)
        await queue.aqueue_bind()
        await queue.exchange.apublish("hello", routing_key=name)
        await queue.exchange.apublish(queue.exchange.Message("you"), routing_key=name)
        message = await queue.aget(no_ack=True)
        assert message.body in (b"hello", "hello")
        assert await queue.apurge() == 1
        assert await queue.aget() is None is queue.get()
        await queue.aqueue_unbind()
        deleted = await queue.adelete()
        queue.declare()
        assert type(deleted) is type(queue.delete())


async def test_a_queue_whose_name_the_broker_makes_up(url: str) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        queue: Any = Queue("", exclusive=True)(connection)
        name = await queue.aqueue_declare()
        assert queue.name == name[0]
        assert queue.name
        await queue.adelete()


async def test_the_channel_that_is_given_is_used(url: str, named: Named) -> None:
    name = named()
    async with Connection(url) as entered:
        connection: Any = entered
        channel = await connection.achannel()
        exchange: Any = Exchange(name)
        queue: Any = Queue(name, exchange, name)
        await exchange.adeclare(channel=channel)
        await exchange.adeclare(False, None, channel)
        assert await queue.adeclare(channel=channel) == name
        await queue.abind_to(name, "other", channel=channel)
        await queue.aunbind_from(exchange, "other", channel=channel)
        bound: Any = queue(channel)
        await bound.exchange.adelete()


@pytest.mark.parametrize("verb", ["declare", "delete", "purge", "get", "queue_bind"])
async def test_an_unbound_queue_raises_what_the_sync_twin_raises(verb: str) -> None:
    queue: Any = Queue("q", Exchange("q"))
    with pytest.raises(NotBoundError):
        getattr(queue, verb)()
    with pytest.raises(NotBoundError):
        await getattr(queue, f"a{verb}")()
    exchange: Any = Exchange("q")
    with pytest.raises(NotBoundError):
        await exchange.adeclare()


async def test_deleting_a_queue_that_is_not_empty(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(named()) as simple:
            await simple.aput(1)
        outcomes = []
        for verb in ("delete", "adelete"):
            queue: Any = Queue(simple.queue.name)(await connection.achannel())
            try:
                outcome = getattr(queue, verb)(if_empty=True)
                outcomes.append(await outcome if verb == "adelete" else outcome)
            except Exception as exc:
                outcomes.append(type(exc))
        assert outcomes[0] == outcomes[1]


async def test_binding_exchanges(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        source: Any = Exchange(named("s"))(connection)
        target: Any = Exchange(named("t"))(connection)
        source.declare()
        target.declare()
        calls = [("bind_to", target, source), ("unbind_from", target, source)]
        for verb, entity, other in calls:
            try:
                expected = getattr(entity, verb)(other, "key")
            except NotImplementedError:
                with pytest.raises(NotImplementedError):
                    await getattr(entity, f"a{verb}")(other, "key")
            else:
                actual = await getattr(entity, f"a{verb}")(other, "key")
                assert type(actual) is type(expected)


async def test_a_binding(url: str, named: Named) -> None:
    async with Connection(url) as entered:
        connection: Any = entered
        exchange = Exchange(named("e"))
        queue: Any = Queue(named("q"))(connection)
        queue.declare()
        bound: Any = binding(exchange, "key")
        assert await bound.adeclare(connection.default_channel) is None
        assert await bound.abind(queue) is None
        producer = connection.Producer()
        await producer.apublish("x", exchange=exchange, routing_key="key")
        assert (await queue.aget()).payload == "x"
        try:
            bound.unbind(queue, channel=connection.default_channel)
            expected = None
        except Exception as exc:
            expected = type(exc)
        if expected is None:
            bound.bind(queue)
            await bound.aunbind(queue, channel=connection.default_channel)
            await producer.apublish("y", exchange=exchange, routing_key="key")
            # Kombu's transport for Redis keeps the binding.
            left = await queue.aget()
            assert (left is None) is not url.startswith("redis")
        else:
            with pytest.raises(expected):
                await bound.aunbind(queue, channel=connection.default_channel)


async def test_consuming_from_a_queue(url: str, named: Named) -> None:
    got: list[Any] = []
    async with Connection(url) as entered:
        connection: Any = entered
        queue: Any = Queue(named())(connection)
        await queue.adeclare()
        await queue.aconsume("tag", got.append, no_ack=True)
        await connection.Producer().apublish("x", routing_key=queue.name)
        while not got:
            await connection.adrain_events(timeout=5)
        await queue.acancel("tag")
        assert len(got) == 1


async def test_an_exchange_is_bound_as_by_the_sync_method(
    url: str, named: Named
) -> None:
    exchange: Any = Exchange(named(), type="topic")
    async with Connection(url) as connection:
        bound = await exchange.abind(connection)
        assert bound.is_bound
        assert not exchange.is_bound
        assert bound.channel is exchange.bind(connection).channel
        await bound.adeclare()
        await bound.adelete()
