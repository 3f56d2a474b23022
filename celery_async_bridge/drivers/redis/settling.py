"""How messages are taken one at a time, and settled: seams on Kombu's QoS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from queue import Empty
from typing import Any

import kombu.transport.redis
import kombu.transport.virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from ...core.graft import Seam
from ...core.trampoline import await_, in_trampoline
from .claim import CLAIM, Claimed, claimed
from .holding import held_by, holding_of
from .ledger import Ledger, ledger_of
from .unread import adopt, bury, is_readable, read

__all__ = ("lists_of", "settling_seams")

_Virtual: Any = kombu.transport.virtual.QoS

#: Where a running `basic_get` notes what it has claimed.
_getting: ContextVar[list[tuple[str, Claimed]] | None] = ContextVar(
    "celery_async_bridge_getting", default=None
)


def lists_of(channel: Any, queues: list[str]) -> list[str]:
    """Return the keys of queues in the order in which Kombu looks into them."""
    prefix, key = channel.global_keyprefix, channel._q_for_pri
    return [
        f"{prefix}{key(name, step)}"
        for step in channel.priority_steps
        for name in queues
    ]


# -- one message at a time ------------------------------------------------------------


async def _take_one(channel: Any, ledger: Ledger, queue: str) -> Any:
    keys, score = lists_of(channel, [queue]), time.time()
    await ledger.ready()
    reply = ledger.start(CLAIM, [*ledger.keys, *keys], [repr(score), 1, 1, "1", "0"])
    try:
        found = claimed(await asyncio.shield(reply))
    except asyncio.CancelledError:
        # Nobody has seen it; it is on its way all the same.
        reply.add_done_callback(lambda done: _return(ledger, keys, done))
        raise
    if not found:
        raise Empty
    message: Claimed | None = found[0]
    key = keys[found[0].place]
    if message is not None and message.tag is None:
        unread = message
        own = read(key, message)
        try:
            message = await adopt(ledger, key, message, own, score)
        except BaseException:
            ledger.unbury([(key, unread.raw)])
            raise
    if message is None:
        raise Empty
    getting = _getting.get()
    assert getting is not None
    getting.append((key, message))
    holding_of(channel).booked[str(message.tag)] = score
    return loads(bytes_to_str(message.raw))


def _return(ledger: Ledger, keys: list[str], reply: asyncio.Future[Any]) -> None:
    if reply.exception() is None and reply.result() and ledger.mux.up:
        found = claimed(reply.result())
        ledger.give_back([(keys[one.place], one) for one in found if one.tag])
        ledger.unbury(
            [
                (keys[one.place], one.raw)
                for one in found
                if not one.tag and is_readable(one.raw)
            ]
        )


def _basic_get(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def basic_get(self: Any, queue: Any, no_ack: bool = False, **kwargs: Any) -> Any:
        ledger = _ledger(self)
        if ledger is None:
            return original(self, queue, no_ack, **kwargs)
        getting: list[tuple[str, Claimed]] = []
        token = _getting.set(getting)
        try:
            message = original(self, queue, no_ack, **kwargs)
        except Exception:
            for key, one in getting:
                if _unbook(self, one):
                    bury(ledger, key, one)
            raise
        finally:
            _getting.reset(token)
        for _, one in getting:
            if _unbook(self, one):
                await_(ledger.settle(str(one.tag)))
        return message

    return basic_get


def _unbook(channel: Any, message: Claimed) -> bool:
    """Whether no consumer has taken a message upon itself; it is booked no more."""
    return holding_of(channel).booked.pop(str(message.tag), None) is not None


def _get(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _get(self: Any, queue: Any, *args: Any, **kwargs: Any) -> Any:
        ledger = None if _getting.get() is None else _ledger(self)
        if ledger is None:
            return original(self, queue, *args, **kwargs)
        try:
            return await_(_take_one(self, ledger, queue))
        finally:
            # Queues that expire are new in Kombu 5.7.
            update = getattr(self, "_maybe_update_queues_expire", None)
            if update is not None:
                update(self._create_client(), queue)

    return _get


def _ledger(channel: Any) -> Ledger | None:
    """Return the ledger for a call on the loop; None for what upstream's code does."""
    if not in_trampoline() or not channel.ack_emulation:
        return None
    holding = held_by(channel)
    if holding is not None and (
        holding.delivers or (holding.ledger is not None and holding.ledger.here)
    ):
        return holding.ledger
    return ledger_of(channel)


# -- settling -------------------------------------------------------------------------


def _append(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def append(self: Any, message: Any, delivery_tag: Any) -> Any:
        holding = held_by(self.channel)
        score = None if holding is None else holding.booked.pop(str(delivery_tag), None)
        if holding is None or score is None:
            return original(self, message, delivery_tag)
        holding.held[str(delivery_tag)] = score
        # The server has noted it when it was claimed.
        return _Virtual.append(self, message, delivery_tag)

    return append


async def _forget(qos: Any, ledger: Ledger, tag: Any) -> None:
    await ledger.ready()
    holding = holding_of(qos.channel)
    if holding.is_fresh(str(tag), qos.visibility_timeout):
        await ledger.settle(tag)
    else:
        # Another consumer may hold it by now, under the same tag.
        await ledger.settle_own({str(tag): holding.held[str(tag)]})


def _settled(qos: Any, tag: Any) -> bool:
    """Settle a message on the loop; False if that is up to upstream's code."""
    channel = qos.channel
    holding, timeout = held_by(channel), qos.visibility_timeout
    if holding is not None and holding.settles_behind(tag, timeout):
        _Virtual.ack(qos, tag)
        return True
    ledger = _ledger(channel)
    if ledger is None:
        return False
    holding = holding or holding_of(channel)
    plain = ledger.mux.room and holding.is_fresh(str(tag), timeout)
    try:
        await_(ledger.settle(tag) if plain else _forget(qos, ledger, tag))
    except asyncio.CancelledError:
        # It may be settled already, and will be if it was written.
        _Virtual.ack(qos, tag)
        holding.release(str(tag))
        raise
    _Virtual.ack(qos, tag)
    holding.release(str(tag))
    return True


def _ack(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def ack(self: Any, delivery_tag: Any) -> None:
        if not _settled(self, delivery_tag):
            original(self, delivery_tag)
            holding_of(self.channel).release(str(delivery_tag))

    return ack


def _reject(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def reject(self: Any, delivery_tag: Any, requeue: bool = False) -> None:
        if requeue or not _settled(self, delivery_tag):
            original(self, delivery_tag, requeue)
            holding_of(self.channel).release(str(delivery_tag))

    return reject


class _Pushes:
    """Takes down what upstream would push in its transaction."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.found: list[tuple[str, str, Any]] = []

    def lpush(self, key: str, payload: Any) -> None:
        """Note a push to the back of a queue."""
        self.found.append(("LPUSH", self._prefix + key, payload))

    def rpush(self, key: str, payload: Any) -> None:
        """Note a push to the front of a queue."""
        self.found.append(("RPUSH", self._prefix + key, payload))


def _restore_by_tag(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def restore_by_tag(
        self: Any, tag: Any, client: Any = None, leftmost: bool = False
    ) -> Any:
        channel = self.channel
        ledger = _ledger(channel)
        if ledger is None:
            return original(self, tag, client, leftmost)
        tag = bytes_to_str(tag)
        # Only if this very entry has changed it begins anew; upstream does whenever
        # anybody changes the hash, and under load hardly gets to the end.
        while True:
            entry = await_(ledger.entry(tag))
            if entry is None:
                return await_(ledger.settle(tag))
            pushes = _Pushes(channel.global_keyprefix)
            payload, exchange, key = loads(bytes_to_str(entry))
            channel._do_restore_message(payload, exchange, key, pushes, leftmost)
            if await_(ledger.swap(tag, entry, pushes.found)):
                return None

    return restore_by_tag


def settling_seams() -> list[Seam]:
    """Return the rows for Kombu's QoS and its channel."""
    channel = kombu.transport.redis.Channel
    qos = vars(kombu.transport.redis)["QoS"]
    rows = (
        (qos, "append", _append, "what was claimed natively is noted already"),
        (qos, "ack", _ack, "acks of one turn of the loop leave together"),
        (qos, "reject", _reject, "rejections of one turn of the loop leave together"),
        (
            qos,
            "restore_by_tag",
            _restore_by_tag,
            "a message is restored in one step that others cannot starve",
        ),
        (channel, "basic_get", _basic_get, "a message is never taken but not noted"),
        (channel, "_get", _get, "a message is never taken but not noted"),
    )
    return [Seam(owner, name, make, "a", why) for owner, name, make, why in rows]
