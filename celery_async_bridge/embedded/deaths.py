"""What a dead letter says of its death."""

from __future__ import annotations

import datetime
from typing import Any

from .message import Message

__all__ = ("dead_letter", "goes_round")

Table = dict[str, Any]

#: A message that somebody has rejected once may die in a circle of queues for ever. A
#: server is busy with it beside its work; here it would never give the broker back, so
#: after every so many deaths in one queue it rests for so many seconds.
ROUNDS = 100
REST = 0.01


def dead_letter(
    message: Message,
    reason: str,
    queue: str,
    exchange: str,
    key: str | None,
    now: float,
) -> Message:
    """Return what is published to the dead-letter exchange of a queue.

    Arguments:
        message: the one that has died.
        reason: `rejected`, `expired` or `maxlen`.
        queue: where it has died.
        exchange: the dead-letter exchange.
        key: the dead-letter routing key of the queue, if it has one.
        now: seconds since the epoch.
    """
    properties = dict(message.properties)
    headers = dict(message.headers)
    cc = headers.get("CC") or ()
    event: Table = {
        "count": 1,
        "reason": reason,
        "queue": queue,
        "time": datetime.datetime.fromtimestamp(
            int(now), datetime.timezone.utc
        ).replace(tzinfo=None),
        "exchange": message.exchange,
        "routing-keys": [message.keys[0], *cc],
    }
    if properties.get("expiration") is not None:
        event["original-expiration"] = properties.pop("expiration")
    count = _add(headers, event)
    if key is not None:
        headers.pop("CC", None)
    properties["application_headers"] = headers
    keys = message.keys if key is None else (key,)
    rests = reason != "rejected" and count % ROUNDS == 0
    return Message(exchange, keys, properties, message.body, REST if rests else 0.0)


def _add(headers: Table, event: Table) -> int:
    """Add a death to those before; return how often it was this one."""
    deaths = headers.get("x-death")
    if not isinstance(deaths, list):
        deaths = []
        headers["x-first-death-reason"] = event["reason"]
        headers["x-first-death-queue"] = event["queue"]
        headers["x-first-death-exchange"] = event["exchange"]
    grouped: dict[tuple[Any, Any], Table] = {}
    for one in deaths:
        grouped.setdefault((one.get("queue"), one.get("reason")), one)
    same = grouped.pop((event["queue"], event["reason"]), None)
    if same is not None:
        event = {**same, "count": same.get("count", 0) + 1}
    # RabbitMQ 3 turns the earlier ones round at each death, and its search for circles
    # goes by that order.
    headers["x-death"] = [event, *reversed(grouped.values())]
    count: int = event["count"]
    return count


def goes_round(message: Message, queue: str) -> bool:
    """Whether it has been in the queue before and nobody rejected it since."""
    deaths = message.headers.get("x-death")
    if not isinstance(deaths, list):
        return False
    for death in deaths:
        if death.get("reason") == "rejected":
            return False
        if death.get("queue") == queue:
            return True
    return False
