"""The arguments of queues and exchanges: what they may be, and when two differ."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from .errors import Refused, bad_argument, denied, inequivalent

__all__ = (
    "agree",
    "check_exchange",
    "check_name",
    "check_queue",
    "flag",
    "period",
    "type_name",
)

Table = dict[str, Any]

#: The longest period that RabbitMQ takes, in milliseconds.
LONGEST = 4294967295

#: The types of AMQP's tables, as RabbitMQ names them.
_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "bool"),
    (str, "longstr"),
    (bytes, "binary"),
    (float, "double"),
    (Decimal, "decimal"),
    (datetime.datetime, "timestamp"),
    (dict, "table"),
    ((list, tuple), "array"),
    (type(None), "void"),
)


def type_name(value: Any) -> str:
    """Return what AMQP calls the type of a value."""
    if isinstance(value, int) and not isinstance(value, bool):
        return "signedint" if -(2**31) <= value < 2**31 else "long"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "unknown")


def flag(value: bool) -> str:
    """Return how RabbitMQ writes a flag of a declaration."""
    return f"'{'true' if value else 'false'}'"


def _unacceptable(value: Any) -> str:
    return f"{{unacceptable_type,{type_name(value)}}}"


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return f'"expected integer, got {type_name(value)}"'
    return f"{{value_negative,{value}}}" if value < 0 else ""


def period(value: Any) -> str:
    """Return what is wrong with a period in milliseconds, if something is."""
    wrong = _number(value)
    return wrong or (f"{{value_too_large,{value}}}" if value > LONGEST else "")


def _expires(value: Any) -> str:
    return "{value_zero,0}" if value == 0 and not _number(value) else period(value)


def _priority(value: Any) -> str:
    wrong = _number(value)
    return wrong or (f"{{max_value_exceeded,{value}}}" if value > 255 else "")


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else _unacceptable(value)


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else _unacceptable(value)


def _overflow(value: Any) -> str:
    known = ("drop-head", "reject-publish", "reject-publish-dlx")
    return _text(value) or ("" if value in known else "invalid_overflow")


def _queue_type(value: Any) -> str:
    if value == "classic":
        return ""
    known = value in ("quorum", "stream")
    rest = "; this broker has classic queues only" if known else ""
    return _text(value) or f"\"unsupported queue type '{value}'\"{rest}"


#: What says whether an argument of a queue is valid; the ones here make two
#: declarations differ.
_QUEUE: dict[str, Callable[[Any], str]] = {
    "x-expires": _expires,
    "x-message-ttl": period,
    "x-dead-letter-exchange": lambda value: "",
    "x-dead-letter-routing-key": _text,
    "x-max-length": _number,
    "x-max-length-bytes": _number,
    "x-max-priority": _priority,
    "x-overflow": _overflow,
    "x-single-active-consumer": _flag,
    "x-queue-type": _queue_type,
}


def _name(kind: str, name: str, argument: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise Refused(
            406,
            f"invalid type '{type_name(value)}' for arg '{argument}' in {kind} "
            f"'{name}' in vhost '/'",
        )


def check_name(kind: str, name: str) -> None:
    """Refuse a name that only the broker gives."""
    if name.startswith("amq."):
        raise denied(f"{kind} name '{name}' contains reserved prefix 'amq.*'")


def check_queue(name: str, arguments: Table) -> None:
    """Refuse arguments that no queue can have."""
    exchange = "x-dead-letter-exchange"
    _name("queue", name, exchange, arguments.get(exchange))
    if arguments.get("x-dead-letter-routing-key") and exchange not in arguments:
        why = "routing_key_but_no_dlx_defined"
        raise bad_argument("queue", name, "x-dead-letter-routing-key", why)
    for argument, check in _QUEUE.items():
        if argument in arguments:
            wrong = check(arguments[argument])
            if wrong:
                raise bad_argument("queue", name, argument, wrong)


def check_exchange(name: str, arguments: Table) -> None:
    """Refuse arguments that no exchange can have."""
    argument = "alternate-exchange"
    _name("exchange", name, argument, arguments.get(argument))


def _written(value: Any) -> str:
    return flag(value)[1:-1] if isinstance(value, bool) else str(value)


def _described(value: Any) -> str:
    if value is None:
        return "none"
    return f"the value '{_written(value)}' of type '{type_name(value)}'"


def agree(
    kind: str,
    name: str,
    received: Table,
    current: Table,
    arguments: Iterable[str] = tuple(_QUEUE),
) -> None:
    """Refuse a declaration that differs from the one in force."""
    for argument in arguments:
        new, old = received.get(argument), current.get(argument)
        if argument == "x-queue-type":
            new, old = new or "classic", old or "classic"
        if new == old and type_name(new) == type_name(old):
            continue
        if new is None or old is None:
            said = (_described(new), _described(old))
        else:
            said = (f"'{_written(new)}'", f"'{_written(old)}'")
        raise inequivalent(kind, name, argument, *said)
