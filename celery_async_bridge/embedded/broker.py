"""The broker: what is declared, bound, published; where dead letters go."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from . import headers
from .arguments import agree, check_exchange, check_name, check_queue, flag
from .deaths import dead_letter, goes_round
from .errors import Refused, denied, inequivalent, locked, missing
from .exchange import TYPES, Binding, Destination, Exchange
from .queue import Queue
from .timers import Timers

if TYPE_CHECKING:
    from .durable.journal import Journal
    from .message import Message
    from .session import Session

__all__ = ("Broker", "Clock")

Table = dict[str, Any]


class Clock(Protocol):
    """The broker's sense of time; the module `time` is one."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def time(self) -> float:
        """Return seconds since the epoch."""


class Broker:
    """One virtual host. Every call holds its lock, in `turn()`."""

    def __init__(self, name: str = "", clock: Clock = time) -> None:
        self.name = name
        self.clock = clock
        self.lock = threading.RLock()
        #: What writes down what lasts; None for a broker that ends with its process.
        self.journal: Journal | None = None
        self.timers = Timers(clock, self._wake_all)
        #: Everybody who waits for anything: one of them does what becomes due.
        self.waiters: dict[Callable[[], object], None] = {}
        self.sessions: dict[Session, None] = {}
        self.queues: dict[str, Queue] = {}
        self.exchanges: dict[str, Exchange] = {}
        self._dead: deque[tuple[Queue, Message, str]] = deque()
        #: Sessions whose clients are gone; the collector may add to it at any time.
        self.orphans: deque[Session] = deque()
        #: Why nobody may use it, once this process is a child of its owner.
        self.left = ""
        self._depth = 0
        for kind in TYPES:
            self._add(Exchange(f"amq.{kind}", kind, durable=True))
        self._add(Exchange("amq.match", "headers", durable=True))

    def _add(self, exchange: Exchange) -> Exchange:
        self.exchanges[exchange.name] = exchange
        return exchange

    def _wake_all(self) -> None:
        for wake in list(self.waiters):
            wake()

    def turn(self) -> Broker:
        """Hold the broker: do what is due, then a call, then bury its dead.

        Raises:
            ConnectionError: (the built-in one) this is a copy in a forked process.
        """
        return self

    def __enter__(self) -> Broker:
        if self.left:
            raise ConnectionError(self.left)
        self.lock.acquire()
        self._depth += 1
        if self._depth == 1 and (self.timers or self.orphans):
            try:
                while self.orphans:
                    self.orphans.popleft().close()
                self.timers.run()
                self.bury_all()
            except BaseException:
                self._leave()
                raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if self._depth == 1 and self._dead:
                self.bury_all()
        finally:
            if self._depth == 1 and self.journal is not None:
                self.journal.seal()
            self._leave()

    def _leave(self) -> None:
        self._depth -= 1
        self.lock.release()

    # -- exchanges -----------------------------------------------------------

    def exchange(self, name: str) -> Exchange:
        """Return an exchange; 404 if there is none, 403 for the default one."""
        if not name:
            raise denied("operation not permitted on the default exchange")
        try:
            return self.exchanges[name]
        except KeyError:
            raise missing("exchange", name) from None

    def declare_exchange(
        self,
        name: str,
        kind: str,
        *,
        passive: bool,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
    ) -> None:
        """Declare an exchange, or compare it with the one that exists."""
        if passive:
            self.exchange(name)
            return
        if kind not in TYPES:
            raise Refused(503, f"invalid exchange type '{kind}'")
        if not name:
            raise denied("operation not permitted on the default exchange")
        old = self.exchanges.get(name)
        if old is None:
            check_name("exchange", name)
            check_exchange(name, arguments)
            made = Exchange(name, kind, durable, auto_delete, internal, arguments)
            self._add(made)
            if durable and self.journal is not None:
                head = (name, kind, auto_delete, internal, arguments)
                made.row = self.journal.note("exchange", *head)
            return
        if kind != old.type:
            said = (f"'{kind}'", f"'{old.type}'")
            raise inequivalent("exchange", name, "type", *said)
        for flag_name, new, now in (
            ("durable", durable, old.durable),
            ("auto_delete", auto_delete, old.auto_delete),
            ("internal", internal, old.internal),
        ):
            if new != now:
                said = (flag(new), flag(now))
                raise inequivalent("exchange", name, flag_name, *said)
        agree("exchange", name, arguments, old.arguments, ("alternate-exchange",))

    def delete_exchange(self, name: str, if_unused: bool) -> None:
        """Delete an exchange, if it exists."""
        if not name:
            raise denied("operation not permitted on the default exchange")
        if name.startswith("amq."):
            raise denied(
                f"deletion of system exchange '{name}' in vhost '/' not allowed"
            )
        exchange = self.exchanges.get(name)
        if exchange is None:
            return
        if if_unused and exchange.bindings:
            raise Refused(406, f"exchange '{name}' in vhost '/' in use")
        self._drop_exchange(exchange)

    def _drop_exchange(self, exchange: Exchange) -> None:
        if self.exchanges.get(exchange.name) is exchange:
            del self.exchanges[exchange.name]
            self._forget(exchange)
            for binding in exchange.bindings:
                self._forget(binding)
            self._unbind_all(("exchange", exchange.name))

    def _forget(self, one: Exchange | Binding) -> None:
        if one.row and self.journal is not None:
            self.journal.forget(one.row)

    # -- bindings ------------------------------------------------------------

    def bind(
        self,
        to: Destination,
        source: str,
        key: str,
        arguments: Table,
        session: Session | None = None,
    ) -> None:
        """Bind a queue, which `session` may use, or an exchange to an exchange."""
        exchange = self.exchange(source)
        if to[0] == "exchange":
            lasts = self.exchange(to[1]).durable
        else:
            lasts = self.queue(to[1], session).durable
        if exchange.type == "headers":
            mode = arguments.get("x-match", "all")
            if not isinstance(mode, str) or mode not in headers.MODES:
                raise Refused(
                    406,
                    f'Invalid x-match field value <<"{mode}">>; expected all, any, '
                    "all-with-x, or any-with-x",
                )
        made = exchange.bind(to, key, arguments)
        if made and lasts and exchange.durable and self.journal is not None:
            made.row = self.journal.note("binding", source, *to, key, arguments)

    def unbind(
        self,
        to: Destination,
        source: str,
        key: str,
        arguments: Table,
        session: Session | None = None,
    ) -> None:
        """Take a binding away, if it exists."""
        if not source or to == ("exchange", ""):
            raise denied("operation not permitted on the default exchange")
        exchange = self.exchanges.get(source)
        if exchange is not None:
            binding = exchange.find(to, key, arguments)
            if binding is not None:
                if to[0] == "queue":
                    self.queue(to[1], session)
                exchange.unbind(binding)
                self._forget(binding)
                self._maybe_drop(exchange)

    def _unbind_all(self, to: Destination) -> None:
        for exchange in list(self.exchanges.values()):
            mine = [one for one in exchange.bindings if one.to == to]
            for binding in mine:
                exchange.unbind(binding)
                self._forget(binding)
            if mine:
                self._maybe_drop(exchange)

    def _maybe_drop(self, exchange: Exchange) -> None:
        if exchange.auto_delete and not exchange.bindings:
            self._drop_exchange(exchange)

    # -- queues --------------------------------------------------------------

    def queue(self, name: str, session: Session | None) -> Queue:
        """Return a queue; 404 if there is none, 405 if another session owns it."""
        try:
            queue = self.queues[name]
        except KeyError:
            raise missing("queue", name) from None
        if queue.owner is not None and queue.owner is not session:
            raise locked(name)
        return queue

    def declare_queue(
        self,
        name: str,
        session: Session,
        *,
        passive: bool,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: Table,
    ) -> Queue:
        """Declare a queue, or compare it with the one that exists."""
        # An exclusive queue does not outlive its connection, whatever it says.
        durable = durable and not exclusive
        if passive or name in self.queues:
            queue = self.queue(name, session)
            if not passive:
                _compare(queue, durable, exclusive, auto_delete, arguments)
            queue.touch()
            return queue
        if name:
            check_name("queue", name)
        check_queue(name, arguments)
        name = name or f"amq.gen-{uuid.uuid4().hex}"
        queue = self.queues[name] = Queue(
            self,
            name,
            durable=durable,
            auto_delete=auto_delete,
            owner=session if exclusive else None,
            arguments=arguments,
        )
        if exclusive:
            session.queues[queue] = None
        if durable and self.journal is not None:
            queue.row = self.journal.note("queue", name, auto_delete, arguments)
        return queue

    def delete_queue(
        self, name: str, session: Session, if_unused: bool, if_empty: bool
    ) -> int:
        """Delete a queue, if it exists; return how many messages it had."""
        if name not in self.queues:
            return 0
        queue = self.queue(name, session)
        if if_unused and queue.rota.all:
            raise Refused(406, f"queue '{name}' in vhost '/' in use")
        if if_empty and queue.ready.length:
            raise Refused(406, f"queue '{name}' in vhost '/' not empty")
        count = queue.ready.length
        self.drop_queue(queue)
        return count

    def drop_queue(self, queue: Queue) -> None:
        """Delete a queue, whatever is in it; its consumers are told."""
        if queue.deleted:
            return
        queue.deleted = True
        del self.queues[queue.name]
        if queue.owner is not None:
            queue.owner.queues.pop(queue, None)
        self._unbind_all(("queue", queue.name))
        for consumer in list(queue.rota.all.values()):
            queue.rota.remove(consumer)
            consumer.channel.forget(consumer)
        queue.purge()
        if queue.row and self.journal is not None:
            self.journal.empty(queue.row)

    # -- messages ------------------------------------------------------------

    def route(self, message: Message) -> list[Queue]:
        """Return the queues that get a message; 404 if its exchange is missing."""
        if message.exchange:
            exchange = self.exchange(message.exchange)
            if exchange.internal:
                what = f"internal exchange '{message.exchange}' in vhost '/'"
                raise denied(f"cannot publish to {what}")
        return self._spread(message)

    def _spread(self, message: Message) -> list[Queue]:
        if not message.exchange:
            named = map(self.queues.get, dict.fromkeys(message.keys))
            return [queue for queue in named if queue is not None]
        found: dict[Queue, None] = {}
        seen = {message.exchange}
        work = deque([message.exchange])
        while work:
            exchange = self.exchanges.get(work.popleft())
            if exchange is None:
                continue
            to = exchange.route(message)
            if not to and exchange.alternate is not None:
                to = [("exchange", exchange.alternate)]
            for kind, name in to:
                if kind == "queue":
                    found[self.queues[name]] = None
                elif name not in seen:
                    seen.add(name)
                    work.append(name)
        return list(found)

    def bury(self, queue: Queue, message: Message, reason: str) -> None:
        """Send a message that has died to where its queue says, or drop it."""
        if queue.arguments.get("x-dead-letter-exchange") is not None:
            self._dead.append((queue, message, reason))

    def bury_all(self) -> None:
        """Do it with all that have died."""
        while self._dead:
            queue, message, reason = self._dead.popleft()
            to = queue.arguments["x-dead-letter-exchange"]
            if to and to not in self.exchanges:
                continue
            key = queue.arguments.get("x-dead-letter-routing-key")
            letter = dead_letter(
                message, reason, queue.name, to, key, self.clock.time()
            )
            for one in self._spread(letter):
                # A message that dies by itself must not go round in circles.
                if reason == "rejected" or not goes_round(letter, one.name):
                    one.publish(letter)


def _compare(
    queue: Queue, durable: bool, exclusive: bool, auto_delete: bool, arguments: Table
) -> None:
    if exclusive != (queue.owner is not None):
        raise locked(queue.name)
    for name, new, now in (
        ("durable", durable, queue.durable),
        ("auto_delete", auto_delete, queue.auto_delete),
    ):
        if new != now:
            raise inequivalent("queue", queue.name, name, flag(new), flag(now))
    agree("queue", queue.name, arguments, queue.arguments)
