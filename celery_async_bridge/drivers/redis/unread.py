"""Messages that the server could not read, and Python perhaps can.

They were taken out of their queue and wait in a list of their own, not noted as
unacknowledged: that takes their tag. Python's JSON reads some that Lua's does not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kombu.log import get_logger
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

from .claim import ADOPT, UNDECODABLE, Claimed

if TYPE_CHECKING:
    from .ledger import Ledger

__all__ = ("Read", "adopt", "bury", "is_readable", "read")

_logger = get_logger("kombu.transport.redis")


class Read:
    """What Python has read of a message.

    Arguments:
        tag: its delivery tag.
        entry: what is noted of it.
    """

    __slots__ = ("entry", "tag")

    def __init__(self, tag: str, entry: str) -> None:
        self.tag = tag
        self.entry = entry


def _read(raw: bytes) -> Read:
    payload = loads(bytes_to_str(raw))
    info, tag = (payload["properties"][n] for n in ("delivery_info", "delivery_tag"))
    return Read(str(tag), dumps([payload, info["exchange"], info["routing_key"]]))


def is_readable(raw: bytes) -> bool:
    """Whether Python can read a message."""
    try:
        _read(raw)
    except Exception:
        return False
    return True


def read(key: str, message: Claimed) -> Read:
    """Read a message that the server could not.

    Raises:
        Exception: it cannot be read; it stays in the list of the undecodable.
    """
    try:
        return _read(message.raw)
    except Exception:
        _logger.critical("Undecodable message, now in %r: %.200r", key, message.raw)
        raise


async def adopt(
    ledger: Ledger, key: str, message: Claimed, found: Read, score: float
) -> Claimed | None:
    """Note a message as unacknowledged; None if somebody has taken it meanwhile.

    Whoever is cancelled has not seen it: if it was adopted, it goes back.
    """
    keys = [*ledger.keys, key + UNDECODABLE]
    own = Claimed(message.place, message.raw, found.tag)
    await ledger.ready()
    reply = ledger.start(
        ADOPT, keys, [repr(score), found.tag, found.entry, message.raw]
    )

    def give_back(done: asyncio.Future[Any]) -> None:
        if done.exception() is None and done.result():
            ledger.give_back([(key, own)])

    try:
        adopted = await asyncio.shield(reply)
    except (asyncio.CancelledError, GeneratorExit):
        reply.add_done_callback(give_back)
        raise
    return own if adopted else None


def bury(ledger: Ledger, key: str, message: Claimed) -> None:
    """Put a message that no consumer can be given into the list of the undecodable."""
    _logger.critical(
        "Message that cannot be delivered, now in %r: %.200r",
        key + UNDECODABLE,
        message.raw,
    )
    ledger.give_back([(key + UNDECODABLE, message)])
