"""`Producer.publish` and its relatives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..case import Case, case_table
from ..script import Script, aside, call, enter, read

__all__ = ("PUBLISHING",)

BODY = {"hello": "wörld", "n": [1, 2.5, None]}


def _publish(
    stage: Any, *, body: Any = BODY, kind: str = "direct", **options: Any
) -> Script:
    queue = stage.queue(kind)
    yield aside(stage.declare, queue)
    options = {
        name: value(stage) if callable(value) else value
        for name, value in options.items()
    }
    options.setdefault("routing_key", queue.routing_key)
    producer = stage.connection.Producer(exchange=queue.exchange)
    yield call(producer, "publish", body, **options)


def _another(stage: Any) -> list[Any]:
    return [stage.queue(stem="declared"), stage.exchange(stem="alone")]


#: Name -> the options of one publish.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "priority": {"priority": 3},
    "headers": {"headers": {"a": 1, "b": "ü"}},
    "compression": {"compression": "zlib"},
    "unknown_compression": {"compression": "nope"},
    "pickle": {"serializer": "pickle"},
    "yaml": {"serializer": "yaml"},
    "unknown_serializer": {"serializer": "nope"},
    "unserialisable": {"body": {"x": object()}},
    "text": {"body": "just text"},
    "bytes": {"body": b"\x00\xff"},
    "content_type": {
        "body": b"<x/>",
        "content_type": "application/xml",
        "content_encoding": "binary",
    },
    "expiration": {"expiration": 60},
    "transient": {"delivery_mode": 1},
    "named_transient": {"delivery_mode": "transient"},
    "unknown_delivery_mode": {"delivery_mode": "nope"},
    "mandatory": {"mandatory": True},
    "declare": {"declare": _another},
    "retry": {"retry": True, "retry_policy": {"max_retries": 1, "interval_start": 0}},
    "properties": {"correlation_id": "c-1", "reply_to": "r-1", "message_id": "m-1"},
    "timeout": {"timeout": 5},
    "unroutable": {"routing_key": "nobody.listens"},
    "unknown_exchange": {"exchange": lambda stage: stage.name("undeclared")},
    "default_exchange": {"exchange": "", "routing_key": lambda stage: f"{stage.run}.q"},
    "topic": {"kind": "topic", "routing_key": "k.1"},
    "topic_unmatched": {"kind": "topic", "routing_key": "other"},
    "large": {"body": "x" * 300_000},
}


def _publish_twice(stage: Any) -> Script:
    queue = stage.queue()
    producer = stage.connection.Producer(exchange=queue.exchange)
    for n in range(2):
        yield call(
            producer, "publish", n, routing_key=queue.routing_key, declare=[queue]
        )


def _exchange_publish(stage: Any) -> Script:
    queue = stage.queue()
    yield aside(stage.declare, queue)
    channel = yield call(stage.connection, "channel")
    exchange = queue.exchange(channel)
    message = exchange.Message("text", headers={"h": 1})
    yield call(exchange, "publish", message, routing_key=queue.routing_key)


def _unbound_exchange(stage: Any) -> Script:
    yield call(stage.exchange(), "publish", "text")


def _declare(stage: Any) -> Script:
    producer = stage.connection.Producer(exchange=stage.exchange())
    yield call(producer, "declare")


def _maybe_declare(stage: Any) -> Script:
    producer = stage.connection.Producer()
    queue = stage.queue()
    yield call(producer, "maybe_declare", queue)
    yield call(producer, "maybe_declare", queue)
    yield call(producer, "maybe_declare", stage.exchange(), retry=True)


def _bad_call(stage: Any) -> Script:
    yield call(stage.connection.Producer(), "publish")


def _channel(stage: Any) -> Script:
    producer = stage.connection.Producer()
    yield read(producer, "channel")
    yield call(producer, "revive", stage.connection)
    yield call(producer, "release")


def _entered(stage: Any) -> Script:
    queue = stage.queue()
    producer = stage.connection.Producer(exchange=queue.exchange)
    yield call(producer, "publish", 1, routing_key="k.1", declare=[queue])
    yield call(producer, "close")


def _batch(stage: Any) -> Script:
    queue = stage.queue()
    yield aside(stage.declare, queue)
    producer = stage.connection.Producer(exchange=queue.exchange)
    yield read(producer, "channel")
    yield enter(producer, "batch", max_size=10)
    for n in range(3):
        yield call(producer, "publish", n, routing_key=queue.routing_key)


PUBLISHING: tuple[Case, ...] = case_table(
    {f"publish-{name}": partial(_publish, **given) for name, given in OPTIONS.items()},
    {
        "publish-fanout": Case(
            "publish-fanout", partial(_publish, kind="fanout"), ("fanout",)
        ),
        "publish-twice": _publish_twice,
        "publish-without_body": _bad_call,
        "publish-batch": _batch,
        "exchange-publish": _exchange_publish,
        "exchange-publish-unbound": _unbound_exchange,
        "producer-declare": _declare,
        "producer-maybe_declare": _maybe_declare,
        "producer-channel": _channel,
        "producer-close": _entered,
    },
)
