"""The unacknowledged messages of a server, as this loop claims and settles them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from ...core.loops import LoopLocal
from ...core.taps import in_flight
from .address import address_of
from .claim import (
    ACK,
    GIVE_BACK,
    REFRESH,
    SWAP,
    UNBURY,
    UNDECODABLE,
    Claimed,
    Script,
)
from .mux import mux_for
from .pack import pack

if TYPE_CHECKING:
    from .mux import Mux

__all__ = ("Ledger", "ledger_of")

#: Tags in one command.
CHUNK = 500


class Ledger:
    """Hash and index of unacknowledged messages at one server.

    Arguments:
        mux: the loop's connection.
        unacked: the key of the hash, complete.
        index: the key of its index.
    """

    def __init__(self, mux: Mux, unacked: str, index: str) -> None:
        self.mux = mux
        self.keys = (unacked, index)
        self._loop = asyncio.get_running_loop()
        #: The scores of claims whose replies were lost with the connection.
        self.doubtful: set[float] = set()
        #: The tags of messages that could not be put back.
        self.orphans: set[str] = set()
        #: List and payload of messages that wait among the undecodable by mistake.
        self.buried: list[tuple[str, bytes]] = []
        self._settling: list[tuple[str, Callable[[BaseException | None], object]]] = []

    @property
    def here(self) -> bool:
        """Whether it belongs to the running loop, and has its connection."""
        return asyncio.get_running_loop() is self._loop and self.mux.up

    # -- commands ---------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until commands can be written.

        Raises:
            redis.exceptions.ConnectionError: the server cannot be reached.
        """
        if not self.mux.up:
            await self.mux.ready()
        if not self.mux.room:
            await self.mux.wait_room()

    async def ask(self, *args: Any) -> Any:
        """Send a command and await its reply."""
        await self.ready()
        return await self.mux.push(pack(args).data)

    async def run(
        self, script: Script, keys: Sequence[Any], args: Sequence[Any]
    ) -> Any:
        """Await the reply of a script."""
        await self.ready()
        return await self.start(script, keys, args)

    def start(
        self, script: Script, keys: Sequence[Any], args: Sequence[Any]
    ) -> asyncio.Future[Any]:
        """Send a script at once; whoever waits for its reply may leave.

        What it has done by then is in the future's result all the same, so there is
        always somebody who can take it back.
        """
        reply: asyncio.Future[Any] = self._loop.create_future()
        self.tell(script, keys, args, partial(_finish, reply))
        return reply

    def tell(
        self,
        script: Script,
        keys: Sequence[Any],
        args: Sequence[Any],
        told: Callable[[Any, BaseException | None], object],
    ) -> None:
        """Send a script at once, for a reply that nobody awaits; see `Mux.tell`."""

        def first(value: Any, failure: BaseException | None) -> None:
            if isinstance(failure, NoScriptError):
                self.mux.tell(script.tell(keys, args).data, 1, told)
            else:
                told(value, failure)

        self.mux.tell(script.call(keys, args).data, 1, first)

    # -- settling ---------------------------------------------------------------------

    def settle(self, tag: str) -> asyncio.Future[None]:
        """Forget a message; all of one turn of the loop go in one transaction."""
        done: asyncio.Future[None] = self._loop.create_future()
        if self.mux.idle and not self._settling:
            # Nothing is under way that it could leave with, and the turn of the loop
            # costs as much as the command.
            self.mux.tell_now(_forgetting(self.keys, [tag]), 4, partial(_told, done))
        else:
            self.settle_behind(tag, partial(_finish, done, None))
        return done

    def settle_behind(
        self, tag: str, settled: Callable[[BaseException | None], object]
    ) -> None:
        """Forget a message for which nobody waits.

        Arguments:
            tag: names it.
            settled: gets what has failed, or None; it must not raise.
        """
        if not self._settling:
            self.mux.before_flush(self._settle)
        self._settling.append((tag, settled))

    def _settle(self) -> None:
        settling, self._settling = self._settling, []
        for start in range(0, len(settling), CHUNK):
            part = settling[start : start + CHUNK]
            data = _forgetting(self.keys, [tag for tag, _ in part])
            self.mux.tell(data, 4, partial(_settled, [done for _, done in part]))

    async def settle_own(self, held: dict[str, float]) -> int:
        """Forget messages that have been ours for long, unless others have them now.

        Arguments:
            held: the score of each tag, as we know it.
        """
        args = [value for pair in _pairs(held) for value in pair]
        return int(await self.run(ACK, self.keys, args))

    # -- returning --------------------------------------------------------------------

    def give_back(
        self, messages: Sequence[tuple[str, Claimed]], *, noted_only: bool = False
    ) -> asyncio.Future[int]:
        """Put messages back that nobody has seen; the first one is the next again.

        Arguments:
            messages: the list of each and what was claimed, in the order of claiming.
            noted_only: not those that others may have restored meanwhile.
        """
        return self.start(GIVE_BACK, *giving_back(self.keys, messages, noted_only))

    def unbury(
        self, messages: Sequence[tuple[str, bytes]]
    ) -> list[asyncio.Future[Any]]:
        """Put messages back that are in the list of the undecodable by mistake.

        What fails is left in `buried`, for the next one who waits.
        """
        sent = []
        for key, raw in messages:
            reply = self.start(UNBURY, [key + UNDECODABLE, key], [raw])
            reply.add_done_callback(partial(self._unburied, key, raw))
            sent.append(reply)
        return sent

    def _unburied(self, key: str, raw: bytes, reply: asyncio.Future[Any]) -> None:
        if reply.exception() is not None:
            self.buried.append((key, raw))

    async def entry(self, tag: str) -> Any:
        """Await what is noted of a message, as bytes, or None."""
        return await self.ask("HGET", self.keys[0], tag)

    async def swap(
        self, tag: str, entry: bytes, pushes: Sequence[tuple[str, str, Any]]
    ) -> bool:
        """Push what stands for a message into lists, unless its entry has changed.

        Arguments:
            tag: names it.
            entry: what was noted.
            pushes: command, key and payload.
        """
        keys = [*self.keys, *(key for _, key, _ in pushes)]
        args = [tag, entry, *(it for name, _, raw in pushes for it in (name, raw))]
        return bool(await self.run(SWAP, keys, args))

    async def refresh(self, held: dict[str, float]) -> tuple[float, set[str]]:
        """Make messages young again; return the score and the tags that are lost."""
        now, gone, pairs = time.time(), set[str](), list(_pairs(held))
        for start in range(0, len(pairs), CHUNK):
            part = pairs[start : start + CHUNK]
            args = [repr(now), *(value for pair in part for value in pair)]
            found = await self.run(REFRESH, self.keys[1:], args)
            gone.update(tag.decode() for tag in found)
        return now, gone

    async def count_before(self, score: float) -> int:
        """Await how many messages are noted that are older than this."""
        return int(await self.ask("ZCOUNT", self.keys[1], 0, repr(score)))

    async def tags_at(self, score: float) -> list[str]:
        """Await the tags that a claim with this score has noted."""
        found = await self.ask("ZRANGEBYSCORE", self.keys[1], repr(score), repr(score))
        return [tag.decode() for tag in found]


def giving_back(
    keys: tuple[str, str], messages: Sequence[tuple[str, Claimed]], noted_only: bool
) -> tuple[list[str], list[Any]]:
    """Return keys and arguments of the script: the oldest message is pushed last."""
    names, args = list(keys), ["1" if noted_only else "0"]
    values: list[Any] = [*args]
    for key, message in reversed(messages):
        names.append(key)
        values += (message.tag or "", message.raw)
    return names, values


def _pairs(held: dict[str, float]) -> list[tuple[str, str]]:
    return [(tag, repr(score)) for tag, score in held.items()]


_MULTI, _EXEC = pack(("MULTI",)).data, pack(("EXEC",)).data


def _forgetting(keys: tuple[str, str], tags: Sequence[str]) -> bytes:
    """Pack the four commands by which Kombu forgets messages."""
    words = [tag.encode() if isinstance(tag, str) else bytes(tag) for tag in tags]
    rest = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
    count = len(words) + 2
    zrem, hdel = _heads(keys)
    return b"%b*%d\r\n%b%b*%d\r\n%b%b%b" % (
        *(_MULTI, count, zrem, rest),
        *(count, hdel, rest, _EXEC),
    )


@lru_cache(maxsize=64)
def _heads(keys: tuple[str, str]) -> tuple[bytes, bytes]:
    unacked, index = (key.encode() for key in keys)
    return (
        b"$4\r\nZREM\r\n$%d\r\n%b\r\n" % (len(index), index),
        b"$4\r\nHDEL\r\n$%d\r\n%b\r\n" % (len(unacked), unacked),
    )


def _told(
    done: asyncio.Future[Any], replies: Any, failure: BaseException | None
) -> None:
    if failure is None:
        failure = _error_in(replies)
    if failure is None and not done.done():
        done.set_result(None)
    else:
        _finish(done, None, failure)


def _settled(
    waiting: list[Callable[[BaseException | None], object]],
    replies: Any,
    failure: BaseException | None,
) -> None:
    if failure is None:
        failure = _error_in(replies)
    for settled in waiting:
        settled(failure)


def _error_in(replies: list[Any]) -> BaseException | None:
    for reply in replies:
        if isinstance(reply, Exception):
            return reply
    return None


def _finish(
    done: asyncio.Future[Any], value: Any, failure: BaseException | None
) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(value)
    else:
        # Each its own: whoever raises it adds to its traceback.
        done.set_exception(copy(failure))
        # Nobody may be waiting.
        done.exception()


_local: LoopLocal[dict[Any, Ledger]] = LoopLocal(dict)


def ledger_of(channel: Any) -> Ledger | None:
    """Return the running loop's ledger for a Kombu channel; None if it has none."""
    address = address_of(channel.pool)
    if address is None:
        return None
    mux = mux_for(address, in_flight.get())
    prefix = channel.global_keyprefix
    unacked, index = prefix + channel.unacked_key, prefix + channel.unacked_index_key
    found = _local.get()
    key = (address.key, unacked, index)
    ledger = found.get(key)
    if ledger is None or ledger.mux is not mux:
        ledger = found[key] = Ledger(mux, unacked, index)
    return ledger
