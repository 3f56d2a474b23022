"""What redis-py gets for a connection in a trampoline: no socket, the same methods."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from redis._parsers.encoders import Encoder
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, DataError
from redis.retry import Retry

from ...core.burst import Posting, burst_here, undisturbed
from ...core.gate import go_on
from ...core.taps import recorder, replay
from ...core.trampoline import await_
from .owed import Reply
from .pack import Packed, pack, pack_all

if TYPE_CHECKING:
    from .address import Address
    from .mux import Mux

__all__ = ("VirtualConnection", "reach")

#: They block the connection; in a MULTI ... EXEC they do not.
_BLOCKING = frozenset(
    {
        "BLMOVE",
        "BLMPOP",
        "BLPOP",
        "BRPOP",
        "BRPOPLPUSH",
        "BZMPOP",
        "BZPOPMAX",
        "BZPOPMIN",
        "MULTI",
        "WAIT",
        "WAITAOF",
        "WATCH",
        "XREAD",
        "XREADGROUP",
    }
)
#: They put it in a state that the others must not meet.
_CHANGING = frozenset(
    {
        "AUTH",
        "CLIENT",
        "HELLO",
        "MONITOR",
        "PSUBSCRIBE",
        "PSYNC",
        "QUIT",
        "RESET",
        "SELECT",
        "SSUBSCRIBE",
        "SUBSCRIBE",
        "SYNC",
    }
)
_OWN = _BLOCKING | _CHANGING
#: Stands for the reply to a message of a burst: nobody looks at it.
UNREAD = 1
#: They put a message where somebody takes it; doing it twice is noticed.
_DELIVERING = frozenset({"LPUSH", "PUBLISH", "RPUSH", "XADD"})
#: How Kombu puts a message into a queue; it does not look at the reply.
_PUTTING = {"LPUSH"}


class VirtualConnection:
    """A share of the loop's connection, for the length of one command or pipeline.

    A command that blocks, or changes what the connection is, gets a socket of its own
    until the connection is released.
    """

    #: A retry in here could send a write twice; Kombu and Celery retry above.
    retry: Retry = Retry(NoBackoff(), 0)
    #: redis-py before 6 asks for it when a command has failed.
    retry_on_error = None
    pid = None
    _sock = None
    #: What redis-py would prepare on each connection for HIMPORT.
    himport_registry = None
    credential_provider = None
    handshake_metadata = None

    def __init__(self, pool: Any, address: Address, mux: Mux) -> None:
        self.host, self.port, self.db, self.protocol, self.encoder = _facts_of(pool)
        self._address = address
        self._mux = mux
        self._count = 0
        self._sent: Reply | None = None
        self._replies: deque[Any] = deque()
        self._own: Any = None

    # -- writing ----------------------------------------------------------------------

    def pack_command(self, *args: Any) -> Packed:
        """Pack one command."""
        return pack(args)

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> Packed:
        """Pack commands that must stay together."""
        return pack_all(commands)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        """Pack and write one command."""
        self.send_packed_command(pack(args))

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Write what `pack_command` or `pack_commands` has made.

        Raises:
            redis.exceptions.ConnectionError: there is no connection; nothing was sent.
        """
        if not isinstance(command, Packed):
            raise DataError(
                "a virtual connection writes only what it has packed itself"
            )
        _fail_as_before()
        late = _may_be_late(command)
        alone = _CHANGING if command.is_block else _OWN
        names = command.names
        if self._own is None and not alone.isdisjoint(names):
            self._own = await_(self._address.own())
        if self._own is not None:
            await_(self._own.send_packed_command(command.data))
            return
        mux = self._mux
        reach(mux)
        if not mux.room:
            await_(mux.wait_room())
        tap = recorder.get()
        if tap is not None:
            tap(mux, command.commands)
        self._count = len(command.commands)
        self._replies.clear()
        sent: Any = (
            mux.push(command.data)
            if self._count == 1
            else mux.push_many(command.data, self._count)
        )
        self._sent = Reply(mux, sent, not _DELIVERING.isdisjoint(names))
        if late is not None:
            late.replies.append(self._sent)
            self._sent = None
            self._replies.append(UNREAD)

    # -- reading ----------------------------------------------------------------------

    def read_response(
        self, disable_decoding: bool = False, *args: Any, **kwargs: Any
    ) -> Any:
        """Return the next reply.

        Raises:
            redis.exceptions.RedisError: the server's answer, or the connection's end.
        """
        if self._own is not None:
            reply = await_(self._own.read_response(disable_decoding=True))
        elif self._replies:
            reply = self._replies.popleft()
        else:
            reply = self._first()
        if isinstance(reply, Exception):
            raise reply
        if self.encoder.decode_responses and not disable_decoding:
            return self._decoded(reply)
        return reply

    def _first(self) -> Any:
        sent, self._sent = self._sent, None
        if sent is None:
            raise ConnectionError("there is no command whose reply could be read")
        replies = sent.read()
        if self._count == 1:
            return replies
        self._replies.extend(replies)
        return self._replies.popleft()

    def _decoded(self, reply: Any) -> Any:
        if isinstance(reply, bytes):
            return self.encoder.decode(reply)
        if isinstance(reply, (list, set)):
            return type(reply)(map(self._decoded, reply))
        if isinstance(reply, dict):
            decoded = self._decoded
            return {decoded(key): decoded(value) for key, value in reply.items()}
        return reply

    # -- the life of a connection -----------------------------------------------------

    def connect(self) -> None:
        """Connect the loop's connection, unless it is.

        Raises:
            redis.exceptions.ConnectionError: as redis-py raises it.
        """
        reach(self._mux)

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Give up a socket of one's own; the loop's connection belongs to all."""
        own, self._own = self._own, None
        if own is not None:
            # Nothing to wait for: it must go even while the call's coroutine is closed.
            own._close()

    def can_read(self, timeout: float | None = 0) -> bool:
        """Whether a reply is there."""
        return bool(self._replies)

    @property
    def is_connected(self) -> bool:
        """Whether commands can be written at once."""
        return self._mux.up

    def should_reconnect(self) -> bool:
        """No: the loop's connection looks after itself."""
        return False

    def check_health(self) -> None:
        """Do nothing: a dead connection is noticed when no reply comes."""

    def get_protocol(self) -> Any:
        """Return the RESP version that the pool asks for."""
        return self.protocol

    def register_connect_callback(self, callback: Any) -> None:
        """Do nothing: a subscription lives on a socket of its own."""

    def deregister_connect_callback(self, callback: Any) -> None:
        """Do nothing."""


#: What redis-py asks a connection for: host, port, database, protocol, encoder.
Facts = tuple[Any, Any, Any, Any, Any]
_facts: WeakKeyDictionary[Any, Facts] = WeakKeyDictionary()


def _facts_of(pool: Any) -> Facts:
    """Return what all connections of a pool have in common; read once."""
    found = _facts.get(pool)
    if found is None:
        kwargs = pool.connection_kwargs
        encoder: Any = Encoder(  # type: ignore[no-untyped-call]
            kwargs.get("encoding", "utf-8"),
            kwargs.get("encoding_errors", "strict"),
            kwargs.get("decode_responses", False),
        )
        found = _facts[pool] = (
            kwargs.get("host") or kwargs.get("path"),
            kwargs.get("port"),
            kwargs.get("db", 0),
            kwargs.get("protocol"),
            encoder,
        )
    return found


def reach(mux: Mux) -> None:
    """Wait in a trampoline until there is a connection.

    Raises:
        redis.exceptions.ConnectionError: and its kin, as redis-py raises them.
    """
    # Before connecting: attempts to reach a server that is away come after the
    # failure that upstream is to hear of first.
    _fail_as_before()
    while not mux.up:
        await_(_ready(mux))


async def _ready(mux: Mux) -> None:
    """Connect; the others whose attempt it was go on in other turns of the loop."""
    try:
        await mux.ready()
    except Exception:
        await go_on()
        raise
    await go_on()


def _fail_as_before() -> None:
    """Raise the failure of the first attempt, where somebody has made it already."""
    first = replay.get()
    failure = None if first is None else first.take()
    if failure is not None:
        await_(go_on())
        try:
            raise failure
        finally:
            del failure  # or the traceback keeps itself, and the call, alive


def _may_be_late(command: Packed) -> Posting | None:
    """Return the message of which nobody waits for the reply to this write.

    Before any other write between two messages of a burst their replies are read.
    """
    burst = burst_here()
    if burst is None or not undisturbed():
        return None
    posting = burst.posting
    if posting is None:
        burst.settle()
    elif len(command.commands) == 1 and command.names == _PUTTING:
        return posting
    return None
