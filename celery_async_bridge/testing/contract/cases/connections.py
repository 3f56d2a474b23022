"""`Connection`, its pools, channels and consumers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..case import Case, case_table
from ..script import Script, aside, call, each, enter, read

__all__ = ("CONNECTIONS",)


def _calls(
    stage: Any, *, steps: list[tuple[str, tuple[Any, ...], dict[str, Any]]]
) -> Script:
    for name, args, kwargs in steps:
        yield call(stage.connection, name, *args, **kwargs)


def _reads(stage: Any, *, name: str) -> Script:
    yield read(stage.connection, name)


def _entered(stage: Any) -> Script:
    connection = yield call(stage.connection, "connect")
    del connection
    yield call(stage.connection, "release")
    yield call(stage.connection, "release")


def _channels(stage: Any) -> Script:
    channel = yield call(stage.connection, "channel")
    yield call(stage.connection, "maybe_close_channel", channel)
    default = yield read(stage.connection, "default_channel")
    yield call(stage.connection, "maybe_close_channel", default)


def _ensured(stage: Any) -> Script:
    def work(*args: Any, **kwargs: Any) -> str:
        stage.seen.append([list(args), dict(kwargs)])
        if len(stage.seen) < 3:
            raise ConnectionResetError("gone")
        return "done"

    producer = stage.connection.Producer()
    ensured = stage.connection.ensure(
        producer, work, max_retries=5, interval_start=0, interval_step=0
    )
    del ensured
    yield aside(stage.seen.clear)
    yield call(
        _Ensuring(stage.connection, producer, work),
        "run",
        1,
        max_retries=5,
        interval_start=0,
        interval_step=0,
    )


class _Ensuring:
    """`ensure` returns a callable, its twin an awaitable one: call both at once."""

    def __init__(self, connection: Any, obj: Any, fun: Any) -> None:
        self.connection = connection
        self.obj = obj
        self.fun = fun

    def run(self, *args: Any, **options: Any) -> Any:
        return self.connection.ensure(self.obj, self.fun, **options)(*args)

    async def arun(self, *args: Any, **options: Any) -> Any:
        return await self.connection.aensure(self.obj, self.fun, **options)(*args)


class _Autoretrying:
    def __init__(self, connection: Any, fun: Any) -> None:
        self.connection = connection
        self.fun = fun

    def run(self, *args: Any, **options: Any) -> Any:
        return self.connection.autoretry(self.fun, **options)(*args)

    async def arun(self, *args: Any, **options: Any) -> Any:
        return await self.connection.aautoretry(self.fun, **options)(*args)


def _autoretry(stage: Any) -> Script:
    def work(n: int, channel: Any = None) -> int:
        stage.seen.append([n, channel is not None])
        if len(stage.seen) < 2:
            raise ConnectionResetError("gone")
        return n + 1

    yield call(
        _Autoretrying(stage.connection, work),
        "run",
        4,
        max_retries=3,
        interval_start=0,
        interval_step=0,
    )


def _pool(stage: Any, *, kind: str) -> Script:
    pool = getattr(stage.connection, kind)(2)
    first = yield call(pool, "acquire", block=True)
    second = yield call(pool, "acquire")
    del second
    yield call(pool, "acquire", block=True, timeout=0.1)
    yield call(pool, "release", first)


def _pool_freed(stage: Any, *, kind: str) -> Script:
    pool = getattr(stage.connection, kind)(1)
    for _ in range(2):
        resource = yield call(pool, "acquire", block=True, timeout=1)
        yield call(pool, "release", resource)
    resource = yield call(pool, "acquire")
    yield call(pool, "replace", resource)
    yield call(pool, "resize", 3)
    yield call(pool, "force_close_all")


def _producers(stage: Any) -> Script:
    from kombu.pools import ProducerPool

    pool = ProducerPool(stage.connection.Pool(2), limit=2)
    queue = stage.queue()
    producer = yield call(pool, "acquire", block=True)
    yield call(
        producer,
        "publish",
        1,
        exchange=queue.exchange,
        routing_key=queue.routing_key,
        declare=[queue],
    )
    yield call(producer, "release")
    yield call(pool, "force_close_all")


def _consumer(
    stage: Any, *, methods: tuple[tuple[str, tuple[Any, ...]], ...]
) -> Script:
    queue = stage.queue()
    yield aside(stage.put, queue, "one", "two")
    consumer = yield call(
        stage.connection, "Consumer", [queue], callbacks=[stage.see], twin="aconsumer"
    )
    for method, args in methods:
        owner = stage.connection if method == "drain_events" else consumer
        kwargs: dict[str, Any] = {"timeout": 5} if method == "drain_events" else {}
        yield call(owner, method, *args, **kwargs)


def _entered_consumer(stage: Any) -> Script:
    queue = stage.queue()
    yield aside(stage.put, queue, "one")
    yield enter(
        stage.connection, "Consumer", [queue], callbacks=[stage.see], twin="aconsumer"
    )
    yield call(stage.connection, "drain_events", timeout=5)


def _add_queue(stage: Any) -> Script:
    first, second = stage.queue(), stage.queue(stem="second")
    yield aside(stage.put, second, "one")
    consumer = yield call(
        stage.connection, "Consumer", [first], callbacks=[stage.see], twin="aconsumer"
    )
    yield call(consumer, "add_queue", second)
    yield call(consumer, "consume")
    yield call(stage.connection, "drain_events", timeout=5)
    yield call(consumer, "cancel_by_queue", second.name)
    yield call(consumer, "cancel")


def _channel_verbs(stage: Any) -> Script:
    queue, exchange = stage.name(), stage.name("x")
    channel = yield call(stage.connection, "channel")
    yield call(channel, "exchange_declare", exchange=exchange, type="direct")
    yield call(channel, "queue_declare", queue=queue)
    yield call(channel, "queue_bind", queue=queue, exchange=exchange, routing_key="k")
    for n in range(3):
        message = channel.prepare_message(f"body {n}", priority=0)
        yield call(
            channel, "basic_publish", message, exchange=exchange, routing_key="k"
        )
    yield call(channel, "basic_qos", 0, 5, False)
    message = yield call(channel, "basic_get", queue=queue)
    yield call(channel, "basic_ack", message.delivery_tag)
    message = yield call(channel, "basic_get", queue=queue)
    yield call(channel, "basic_reject", message.delivery_tag, requeue=True)
    yield call(channel, "queue_purge", queue=queue)
    yield call(channel, "queue_unbind", queue=queue, exchange=exchange, routing_key="k")
    yield call(channel, "queue_delete", queue=queue)
    yield call(channel, "exchange_delete", exchange)
    yield call(channel, "close")


def _common(stage: Any, *, name: str) -> Script:
    from kombu import common

    queue = stage.queue()
    yield aside(stage.put, queue, "one", "two")
    channel = yield call(stage.connection, "channel")
    if name == "eventloop":
        consumer = yield call(
            stage.connection,
            "Consumer",
            [queue],
            callbacks=[stage.see],
            twin="aconsumer",
        )
        yield call(consumer, "consume")
        yield each(common, name, stage.connection, limit=2, timeout=2)
        return
    if name == "drain_consumer":
        consumer = yield call(
            stage.connection, "Consumer", [queue], twin="aconsumer", no_ack=True
        )
        yield each(common, name, consumer, limit=2, timeout=2)
        return
    yield each(
        common, name, stage.connection, channel, queue, limit=2, timeout=2, no_ack=True
    )


def _maybe_declare(stage: Any) -> Script:
    from kombu import common

    queue = stage.queue()
    channel = yield call(stage.connection, "channel")
    yield call(common, "maybe_declare", queue, channel)
    yield call(common, "maybe_declare", queue, channel)
    yield call(common, "maybe_declare", stage.queue(stem="other"), channel, retry=True)
    yield call(common, "maybe_declare", stage.queue(stem="unbound"))


SIMPLE: Mapping[str, Any] = {
    "connect": [("connect", (), {})],
    "ensure_connection": [("ensure_connection", (), {"max_retries": 1})],
    "drain_events-nothing": [
        ("connect", (), {}),
        ("channel", (), {}),
        ("drain_events", (), {"timeout": 0.1}),
    ],
    "heartbeat_check": [("connect", (), {}), ("heartbeat_check", (), {})],
    "get_heartbeat_interval": [("get_heartbeat_interval", (), {})],
    "collect": [("connect", (), {}), ("collect", (), {})],
    "maybe_switch_next": [("connect", (), {}), ("maybe_switch_next", (), {})],
}

CONSUME, DRAIN, CANCEL = ("consume", ()), ("drain_events", ()), ("cancel", ())
CONSUMER: Mapping[str, tuple[tuple[str, tuple[Any, ...]], ...]] = {
    "declare": (("declare", ()),),
    "consume": (CONSUME, DRAIN, DRAIN, CANCEL),
    "purge": (("purge", ()),),
    "qos": (("qos", (0, 1, False)), CONSUME, DRAIN, CANCEL),
    "recover": (CONSUME, ("recover", (True,))),
}

CONNECTIONS: tuple[Case, ...] = case_table(
    {
        f"connection-{name}": partial(_calls, steps=steps)
        for name, steps in SIMPLE.items()
    },
    {
        f"connection-{name}": partial(_reads, name=name)
        for name in ("connection", "default_channel", "qos_semantics_matches_spec")
    },
    {
        f"consumer-{name}": partial(_consumer, methods=methods)
        for name, methods in CONSUMER.items()
    },
    {
        f"pool-{kind}-{part}": partial(fn, kind=kind)
        for kind in ("Pool", "ChannelPool")
        for part, fn in (("exhausted", _pool), ("freed", _pool_freed))
    },
    {
        f"common-{name}": partial(_common, name=name)
        for name in ("itermessages", "drain_consumer", "eventloop", "collect_replies")
    },
    {
        "connection-release": _entered,
        "connection-channels": _channels,
        "connection-ensure": _ensured,
        "connection-autoretry": _autoretry,
        "pool-producers": _producers,
        "consumer-entered": _entered_consumer,
        "consumer-add_queue": _add_queue,
        "channel-verbs": _channel_verbs,
        "common-maybe_declare": _maybe_declare,
    },
)
