"""`Exchange`, `Queue`, `binding` and `Message`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..case import Case, case_table
from ..script import Script, aside, call

__all__ = ("ENTITIES",)

Method = tuple[str, dict[str, Any]]


def _exchange(
    stage: Any, *, method: str, declared: bool = False, **kwargs: Any
) -> Script:
    exchange = stage.exchange()
    if declared:
        yield aside(stage.declare, exchange)
    channel = yield call(stage.connection, "channel")
    yield call(exchange(channel), method, **kwargs)


def _queue(
    stage: Any,
    *,
    method: str,
    messages: int = 0,
    declared: bool = True,
    options: Mapping[str, Any] = {},  # never changed
    **kwargs: Any,
) -> Script:
    queue = stage.queue(**options)
    if declared:
        yield aside(stage.declare, queue)
    if messages:
        yield aside(stage.put, queue, *range(messages))
    queue = yield call(queue, "bind", stage.connection)
    yield call(queue, method, **kwargs)


def _between_exchanges(stage: Any, *, method: str) -> Script:
    source, target = stage.exchange(stem="source"), stage.exchange(stem="target")
    yield aside(stage.declare, source, target)
    channel = yield call(stage.connection, "channel")
    target = target(channel)
    yield call(target, "bind_to", source, "k")
    if method == "unbind_from":
        yield call(target, method, source, "k")


def _queue_binding(stage: Any, *, method: str) -> Script:
    queue, other = stage.queue(), stage.exchange(stem="other")
    yield aside(stage.declare, queue, other)
    queue = yield call(queue, "bind", stage.connection)
    yield call(queue, "bind_to", other, "k.2", arguments={"x": 1})
    if method == "unbind_from":
        yield call(queue, method, other, "k.2", arguments={"x": 1})


def _unbind(stage: Any) -> Script:
    queue = stage.queue()
    yield aside(stage.declare, queue)
    queue = yield call(queue, "bind", stage.connection)
    yield call(queue, "queue_unbind")


def _many_bindings(stage: Any) -> Script:
    from kombu import Queue, binding

    exchange = stage.exchange()
    bindings: Any = [binding(exchange, "a"), binding(exchange, "b")]
    queue = Queue(stage.name(), bindings, durable=True)
    queue = yield call(queue, "bind", stage.connection)
    yield call(queue, "declare")


def _binding(stage: Any) -> Script:
    from kombu import binding

    queue, other = stage.queue(), stage.exchange(stem="other")
    yield aside(stage.declare, queue, other)
    one = binding(other, "k.9")
    channel = yield call(stage.connection, "channel")
    yield call(one, "declare", channel)
    bound = yield call(queue, "bind", channel)
    yield call(one, "bind", bound, channel=channel)
    yield call(one, "unbind", bound, channel=channel)


def _unbound(stage: Any, *, method: str) -> Script:
    yield call(stage.queue(), method)


def _consume(stage: Any) -> Script:
    queue = stage.queue()
    yield aside(stage.put, queue, "one")
    queue = yield call(queue, "bind", stage.connection)
    yield call(queue, "consume", "tag-1", callback=stage.seen.append, no_ack=True)
    yield call(stage.connection, "drain_events", timeout=5)
    yield call(queue, "cancel", "tag-1")
    stage.seen[:] = [str(message.body) for message in stage.seen]


def _message(stage: Any, *, methods: tuple[Method, ...]) -> Script:
    queue = stage.queue()
    yield aside(stage.put, queue, "one", "two")
    queue = yield call(queue, "bind", stage.connection)
    message = yield call(queue, "get")
    for method, kwargs in methods:
        yield call(message, method, **kwargs)


def _accept(stage: Any) -> Script:
    queue = stage.queue()
    yield aside(stage.put, queue, "one", serializer="pickle")
    queue = yield call(queue, "bind", stage.connection)
    yield call(queue, "get", accept=["json"])


def _log_error(stage: Any, *, method: str) -> Script:
    import logging

    queue = stage.queue()
    yield aside(stage.put, queue, "one")
    queue = yield call(queue, "bind", stage.connection)
    message = yield call(queue, "get")
    logger = logging.getLogger("contract")
    yield call(message, method, logger, (OSError,))


EXCHANGE: Mapping[str, Mapping[str, Any]] = {
    "declare": {"method": "declare"},
    "declare-again": {"method": "declare", "declared": True},
    "declare-passive": {"method": "declare", "passive": True},
    "declare-passive-there": {"method": "declare", "passive": True, "declared": True},
    "declare-nowait": {"method": "declare", "nowait": True},
    "delete": {"method": "delete", "declared": True},
    "delete-missing": {"method": "delete"},
    "delete-unused": {"method": "delete", "if_unused": True, "declared": True},
}

QUEUE: Mapping[str, Mapping[str, Any]] = {
    "declare": {"method": "declare", "declared": False},
    "declare-again": {"method": "declare", "messages": 1},
    "declare-options": {
        "method": "declare",
        "declared": False,
        "options": {"expires": 60, "message_ttl": 30, "max_length": 9},
    },
    "declare-topic": {
        "method": "declare",
        "declared": False,
        "options": {"kind": "topic", "routing_key": "a.*.#"},
    },
    "queue_declare": {"method": "queue_declare", "declared": False},
    "queue_declare-passive": {
        "method": "queue_declare",
        "passive": True,
        "messages": 2,
    },
    "queue_declare-missing": {
        "method": "queue_declare",
        "passive": True,
        "declared": False,
    },
    "queue_bind": {"method": "queue_bind"},
    "get-empty": {"method": "get"},
    "get": {"method": "get", "messages": 2},
    "get-no_ack": {"method": "get", "messages": 2, "no_ack": True},
    "get-missing": {"method": "get", "declared": False},
    "purge": {"method": "purge", "messages": 3},
    "purge-empty": {"method": "purge"},
    "purge-nowait": {"method": "purge", "messages": 3, "nowait": True},
    "delete": {"method": "delete", "messages": 1},
    "delete-if_empty": {"method": "delete", "messages": 1, "if_empty": True},
    "delete-missing": {"method": "delete", "declared": False},
}

ACK: Method = ("ack", {})
REJECT: Method = ("reject", {})
REQUEUE: Method = ("requeue", {})

MESSAGE: Mapping[str, tuple[Method, ...]] = {
    "left": (),
    "ack": (ACK,),
    "ack-twice": (ACK, ACK),
    "ack-multiple": (("ack", {"multiple": True}),),
    "reject": (REJECT,),
    "reject-requeue": (("reject", {"requeue": True}),),
    "requeue": (REQUEUE,),
    "ack-then-requeue": (ACK, REQUEUE),
}

ENTITIES: tuple[Case, ...] = case_table(
    {
        f"exchange-{name}": partial(_exchange, **given)
        for name, given in EXCHANGE.items()
    },
    {f"queue-{name}": partial(_queue, **given) for name, given in QUEUE.items()},
    {
        f"message-{name}": partial(_message, methods=given)
        for name, given in MESSAGE.items()
    },
    {
        f"exchange-{method}": Case(
            f"exchange-{method}",
            partial(_between_exchanges, method=method),
            ("exchange_bind",),
        )
        for method in ("bind_to", "unbind_from")
    },
    {
        f"queue-{method}": partial(_queue_binding, method=method)
        for method in ("bind_to", "unbind_from")
    },
    {
        f"unbound-{method}": partial(_unbound, method=method)
        for method in ("declare", "get", "purge", "delete")
    },
    {
        "queue-unbind": _unbind,
        "queue-many_bindings": _many_bindings,
        "queue-consume": _consume,
        "binding": _binding,
        "message-accept": _accept,
        "message-ack_log_error": partial(_log_error, method="ack_log_error"),
        "message-reject_log_error": partial(_log_error, method="reject_log_error"),
    },
)
