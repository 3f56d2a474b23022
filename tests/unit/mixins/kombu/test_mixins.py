"""Consumer programs that are awaited."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import kombu
import kombu.mixins
import pytest

from celery_async_bridge.core import lane as lane_module
from celery_async_bridge.core.lane import lanes
from tests.unit.core.help import closed_port, until

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue
ConsumerMixin: Any = kombu.mixins.ConsumerMixin
ConsumerProducerMixin: Any = kombu.mixins.ConsumerProducerMixin


class Program(ConsumerMixin):  # type: ignore[misc]
    """Acks what it gets, and remembers it."""

    def __init__(self, connection: Any, queue: str) -> None:
        self.connection = connection
        self.queue = Queue(queue, auto_delete=True, durable=False)
        self.got: list[Any] = []
        self.threads: set[threading.Thread] = set()
        self.ready = threading.Event()
        self.ended = 0

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        return [Consumer([self.queue], callbacks=[self.on_message])]

    def on_message(self, body: Any, message: Any) -> None:
        self.threads.add(threading.current_thread())
        self.got.append(body)
        message.ack()

    def on_consume_ready(self, *args: Any, **kwargs: Any) -> None:
        self.ready.set()

    def on_consume_end(self, connection: Any, channel: Any) -> None:
        self.ended += 1
        super().on_consume_end(connection, channel)


class Replying(ConsumerProducerMixin, Program):  # type: ignore[misc]
    """Has a connection for publishing, too."""

    connection: Any


def stuck() -> int:
    return sum(lane.stuck for lane in lanes().values())


@pytest.fixture(params=["memory", "redis", "amqp"])
def broker_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    return str(request.getfixturevalue(f"{request.param}_url"))


def send(connection: Any, queue: str, *bodies: Any) -> None:
    with connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, routing_key=queue)


async def test_run_consumes_until_it_is_cancelled(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        program = Program(connection, unique)
        running = asyncio.ensure_future(program.arun())
        await until(program.ready.is_set)
        send(connection, unique, 1, 2, 3)
        await until(lambda: len(program.got) == 3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 30)
    assert program.got == [1, 2, 3]
    assert program.ended == 0  # as after a KeyboardInterrupt: the hook is no `finally`
    await until(lambda: not stuck())


async def test_run_ends_when_it_should_stop(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        program = Program(connection, unique)
        running = asyncio.ensure_future(program.arun())
        await until(program.ready.is_set)
        program.should_stop = True
        assert await asyncio.wait_for(running, 30) is None
    assert program.ended == 1


@pytest.mark.parametrize("broker_url", ["redis", "amqp"], indirect=True)
@pytest.mark.usefixtures("threads_only")
async def test_many_programs_leave_room_for_sends(
    broker_url: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More programs than threads: those that find none wait, sends go through."""
    from celery_async_bridge.mixins.kombu import _route, mixins

    real = _route.route_of
    monkeypatch.setattr(mixins, "route_of", lambda c: _few(real(c), 2))
    with Connection(broker_url) as connection:
        programs = [Program(connection, f"{unique}.{n}") for n in range(3)]
        running = [asyncio.ensure_future(one.arun()) for one in programs]
        await until(lambda: sum(one.ready.is_set() for one in programs) == 2)
        with connection.Producer() as producer:
            for number in range(3):
                await producer.apublish(number, routing_key=f"{unique}.{number}")
        await until(lambda: sum(bool(one.got) for one in programs) == 2)
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    await until(lambda: not stuck())


def _few(route: Any, threads: int) -> Any:
    from dataclasses import replace

    endpoint = replace(route.endpoints[0], key=("few", route.endpoints[0].key))
    return replace(route, threads=threads, endpoints=(endpoint,))


async def test_consume_is_a_stream_of_events(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        program = Program(connection, unique)
        stream = program.aconsume(limit=10, safety_interval=0.05)
        first = asyncio.ensure_future(stream.__anext__())
        await until(program.ready.is_set)
        send(connection, unique, 1, 2)
        assert await asyncio.wait_for(first, 30) is None
        async for _ in stream:
            if len(program.got) == 2:
                break
        await stream.aclose()
        assert program.got == [1, 2]
        # The consumers are gone: nobody takes this one.
        program.ready.clear()


async def test_consume_times_out_as_the_sync_one(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        program = Program(connection, unique)
        with pytest.raises(TimeoutError):
            async for _ in program.aconsume(timeout=0.2, safety_interval=0.1):
                pass


async def test_stream_is_closed_when_it_is_cancelled(
    broker_url: str, unique: str
) -> None:
    with Connection(broker_url) as connection:
        program = Program(connection, unique)

        async def read() -> None:
            async for _ in program.aconsume():
                pass

        reading = asyncio.ensure_future(read())
        await until(program.ready.is_set)
        await asyncio.sleep(0.15)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(reading, 30)
    await until(lambda: not stuck())


async def test_contexts_open_and_close(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        program = Program(connection, unique)
        async with program.aestablish_connection() as made:
            assert made.connected
            assert made is not connection
        assert not made.connected
        async with program.aConsumer() as (made, channel, consumers):
            assert made.connected
            assert channel is made.default_channel
            assert len(consumers) == 1
        assert not made.connected
        assert program.ended == 1
        async with program.aconsumer_context(x=1) as (made, channel, _):
            assert program.ready.is_set()
            async with program.aextra_context(made, channel) as nothing:
                assert nothing is None


async def test_entering_that_is_cancelled_leaves_no_connection(unique: str) -> None:
    """Nobody listens there: upstream tries for ever, the cancelled call does not."""
    tries: list[float] = []

    class Patient(Program):
        def on_connection_error(self, exc: BaseException, interval: float) -> None:
            tries.append(interval)

    with Connection(f"amqp://guest:guest@127.0.0.1:{closed_port()}//") as connection:
        program = Patient(connection, unique)
        entering = asyncio.ensure_future(program.aestablish_connection().__aenter__())
        await until(lambda: tries)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await until(lambda: not stuck())
        seen = len(tries)
        await asyncio.sleep(0.3)
        assert len(tries) == seen


async def test_hooks_run_the_users_functions(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        program = Program(connection, unique)
        assert await program.amaybe_conn_error(lambda: 3) == 3
        assert await program.aon_iteration() is None
        assert await program.aon_connection_revived() is None
        await program.aon_consume_ready(connection, connection.default_channel, [])
        assert program.ready.is_set()

        def make(queues: Any, **options: Any) -> Any:
            return connection.Consumer(queues, **options)

        (consumer,) = await program.aget_consumers(make, connection.default_channel)
        assert consumer.queues[0].name == unique
        await program.aon_consume_end(connection, connection.default_channel)
        assert program.ended == 1


async def test_producer_connection_is_made_once(broker_url: str, unique: str) -> None:
    with Connection(broker_url) as connection:
        program = Replying(connection, unique)
        made = await asyncio.gather(*(program.aproducer_connection() for _ in range(8)))
        assert len({id(one) for one in made}) == 1
        producer = await program.aproducer()
        assert producer.connection is made[0]
        await program.aon_consume_end(connection, connection.default_channel)
        assert program._producer_connection is None
        assert not made[0].connected


@pytest.mark.usefixtures("threads_only")
async def test_thread_of_a_program_ends(
    redis_url: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "IDLE", 0.05)
    with Connection(redis_url) as connection:
        program = Program(connection, unique)
        running = asyncio.ensure_future(program.arun())
        await until(program.ready.is_set)
        send(connection, unique, 1)
        await until(lambda: program.got)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    (thread,) = program.threads
    await until(lambda: not thread.is_alive())


@pytest.mark.parametrize("broker_url", ["redis", "amqp"], indirect=True)
async def test_messages_are_settled_from_the_loop_while_it_runs(
    broker_url: str, unique: str
) -> None:
    """The program's own connection is used by two threads, one at a time."""
    loop = asyncio.get_running_loop()
    settled: list[Any] = []
    settling: list[asyncio.Task[None]] = []

    async def settle(body: Any, message: Any) -> None:
        await message.aack()
        settled.append(body)

    class Handing(Program):
        def on_message(self, body: Any, message: Any) -> None:
            loop.call_soon_threadsafe(
                lambda: settling.append(asyncio.ensure_future(settle(body, message)))
            )

    with Connection(broker_url) as connection:
        program = Handing(connection, unique)
        running = asyncio.ensure_future(program.arun())
        await until(program.ready.is_set)
        send(connection, unique, *range(20))
        await until(lambda: len(settled) == 20, 60)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        # All were acknowledged: none comes back.
        assert (
            connection.default_channel.queue_declare(
                unique, auto_delete=True, durable=False
            ).message_count
            == 0
        )
    assert sorted(settled) == list(range(20))


async def test_run_survives_a_lost_connection(redis_url: str, unique: str) -> None:
    """Upstream makes it again; the awaiting task notices nothing."""
    lost: list[Any] = []

    class Losing(Program):
        def on_iteration(self) -> None:
            if self.got == [1] and not lost:
                lost.append(True)
                raise ConnectionResetError("as if the broker went away")

    with Connection(redis_url) as connection:
        program = Losing(connection, unique)
        running = asyncio.ensure_future(program.arun())
        await until(program.ready.is_set)
        program.ready.clear()
        send(connection, unique, 1)
        await until(lambda: lost and program.ready.is_set(), 60)
        send(connection, unique, 2)
        await until(lambda: program.got == [1, 2])
        program.should_stop = True
        await asyncio.wait_for(running, 30)
