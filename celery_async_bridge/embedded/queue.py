"""One queue: what is in it, for whom, for how long."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from .consumers import Consumer, Rota
from .message import Entry, Message
from .ready import Ready

if TYPE_CHECKING:
    from .broker import Broker
    from .session import Session

__all__ = ("Queue",)


class Queue:
    """A queue of a broker; all calls are made under the broker's lock.

    Attributes:
        row: where it is stored, with a journal; 0 for nowhere.
        owner: the session that it is exclusive to.
        active: the consumer that has it for itself, with `x-single-active-consumer`.
        deleted: whether it is gone; its unacked messages may outlive it.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        durable: bool,
        auto_delete: bool,
        owner: Session | None,
        arguments: dict[str, Any],
    ) -> None:
        self.broker = broker
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.arguments = arguments
        self.row = 0
        self._journal = broker.journal if durable else None
        self.levels = arguments.get("x-max-priority", 0)
        self.ready = Ready(self.levels)
        self.rota = Rota()
        self.active: Consumer | None = None
        self.deleted = False
        self._single = arguments.get("x-single-active-consumer", False)
        self._overflow = arguments.get("x-overflow", "drop-head")
        self._bounded = "x-max-length" in arguments or "x-max-length-bytes" in arguments
        self._seq = 0
        #: When it is due, its place, itself, and where it is stored.
        self._later: list[tuple[float, int, Message, int]] = []
        self._armed: float | None = None
        self._lease: float | None = None
        self.touch()

    # -- what comes in -------------------------------------------------------

    def publish(self, message: Message) -> bool:
        """Take a message; False if the queue is full and refuses it."""
        if message.delay > 0:
            due = self.broker.clock.monotonic() + message.delay
            self._hold_back(message, due, self._stored(message, None, due))
            return True
        if self._overflow != "drop-head" and self._would_overflow(message):
            if self._overflow == "reject-publish-dlx":
                self.broker.bury(self, message, "maxlen")
            return False
        self._seq += 1
        wanted = message.properties.get("priority") or 0
        entry = Entry(
            self._seq, message, min(wanted, self.levels), self._death(message)
        )
        if self._journal is not None:
            entry.row = self._stored(message, entry.expires)
        consumer = None if self.ready.length else self._taker()
        if consumer is not None:
            consumer.channel.deliver(consumer, entry)
            return True
        self.ready.add(entry)
        dropped = self._bounded and self._drop_surplus()
        # As RabbitMQ does: what overtakes by its priority is not looked at.
        if dropped or self.ready.length == 1:
            self._drop_dead()
        return True

    def _hold_back(self, message: Message, due: float, row: int) -> None:
        self._seq += 1
        heappush(self._later, (due, self._seq, message, row))
        self.broker.timers.at(due, self._release)

    def _release(self) -> None:
        now = self.broker.clock.monotonic()
        while self._later and self._later[0][0] <= now and not self.deleted:
            _, _, message, row = heappop(self._later)
            if row and self._journal is not None:
                # It is stored anew: its place is behind what has come before now.
                self._journal.forget(row)
            self.publish(
                Message(
                    message.exchange, message.keys, message.properties, message.body
                )
            )

    def _death(self, message: Message) -> float | None:
        ttl = self.arguments.get("x-message-ttl")
        own = message.properties.get("expiration")
        if own is not None:
            ttl = int(own) if ttl is None else min(ttl, int(own))
        return None if ttl is None else self.broker.clock.monotonic() + ttl / 1000

    def requeue(self, entries: list[Entry], *, redelivered: bool = True) -> None:
        """Put messages back where they were."""
        if self.deleted:
            return
        for entry in entries:
            entry.redelivered = entry.redelivered or redelivered
            if self._journal is not None and not entry.row:
                # It was sent to somebody who acknowledges nothing, and was not read.
                entry.row = self._stored(entry.message, entry.expires)
            self.ready.put_back(entry)
        self._drop_surplus()
        self._drop_dead()
        self.run()

    # -- what goes out -------------------------------------------------------

    def _taker(self) -> Consumer | None:
        if not self._single:
            return self.rota.take()
        active = self.active
        if active is None or active.blocked:
            return None
        if active.may_take():
            return active
        self.rota.block(active)
        return None

    def run(self) -> None:
        """Deliver what can be delivered."""
        if self.deleted:
            return
        while self.ready.length:
            consumer = self._taker()
            if consumer is None:
                break
            consumer.channel.deliver(consumer, self.ready.pop())
            # The next one may have expired behind this one.
            self._drop_dead()

    def get(self) -> Entry | None:
        """Take the next message, for `basic.get`."""
        self.touch()
        if not self.ready.length:
            return None
        entry = self.ready.pop()
        self._drop_dead()
        return entry

    # -- what is dropped -----------------------------------------------------

    def _would_overflow(self, message: Message) -> bool:
        count = self.arguments.get("x-max-length")
        size = self.arguments.get("x-max-length-bytes")
        return (count is not None and self.ready.length + 1 > count) or (
            size is not None and self.ready.size + len(message.body) > size
        )

    def _drop_surplus(self) -> bool:
        if self._overflow != "drop-head":
            return False
        before = self.ready.length
        count = self.arguments.get("x-max-length")
        size = self.arguments.get("x-max-length-bytes")
        while self.ready.length and (
            (count is not None and self.ready.length > count)
            or (size is not None and self.ready.size > size)
        ):
            entry = self.ready.pop()
            self.settle(entry)
            self.broker.bury(self, entry.message, "maxlen")
        return self.ready.length < before

    def _drop_dead(self) -> None:
        when = self.ready.next_death()
        if when is None:
            return
        now = self.broker.clock.monotonic()
        if when <= now:
            for entry in self.ready.pop_dead(lambda one: _is_dead(one, now)):
                self.settle(entry)
                self.broker.bury(self, entry.message, "expired")
            when = self.ready.next_death()
        if when is not None and (self._armed is None or when < self._armed):
            self._armed = when
            self.broker.timers.at(when, self._on_death)

    def _on_death(self) -> None:
        self._armed = None
        if not self.deleted:
            self._drop_dead()

    def purge(self) -> int:
        """Drop what is ready or held back; return how much was ready."""
        if self._journal is not None:
            for entry in self.ready:
                self.settle(entry)
            for one in self._later:
                if one[3]:
                    self._journal.forget(one[3])
        self._later.clear()
        return self.ready.clear()

    # -- what lasts ----------------------------------------------------------

    def _stored(
        self, message: Message, expires: float | None, due: float | None = None
    ) -> int:
        """Store a message that lasts, in a queue that does; return its row, else 0."""
        if self._journal is None or message.properties.get("delivery_mode") != 2:
            return 0
        return self._journal.keep(self.row, message, expires, due)

    def settle(self, entry: Entry) -> None:
        """Forget where a message is stored: it is somebody else's, or dead."""
        if entry.row and self._journal is not None:
            self._journal.forget(entry.row)
            entry.row = 0

    def restore(
        self, message: Message, expires: float | None, row: int, redelivered: bool
    ) -> None:
        """Put a message in that was stored."""
        self._seq += 1
        wanted = message.properties.get("priority") or 0
        entry = Entry(self._seq, message, min(wanted, self.levels), expires)
        entry.row, entry.redelivered = row, redelivered
        self.ready.add(entry)

    def restore_later(self, message: Message, due: float, row: int) -> None:
        """Put a message in that was stored, and is held back."""
        message.delay = max(due - self.broker.clock.monotonic(), 0.0)
        self._hold_back(message, due, row)

    def restored(self) -> None:
        """Start the clocks of what was put in."""
        self._drop_dead()

    def take_back(self, row: int) -> None:
        """Take out a message, as if it had never come, if nobody has it yet."""
        later = [one for one in self._later if one[3] != row]
        if self._journal is None or len(later) == len(self._later):
            found = self.ready.remove(row)
        else:
            found, self._later = True, later
            heapify(self._later)
        if found and self._journal is not None:
            self._journal.forget(row)

    # -- who listens ---------------------------------------------------------

    def subscribe(self, consumer: Consumer) -> None:
        """Add a consumer."""
        self.rota.add(consumer)
        if self._single and self.active is None:
            self.active = consumer
        self.run()

    def leave(self, consumer: Consumer) -> None:
        """Remove a consumer; the last one takes an auto-delete queue with it."""
        if self.deleted:
            return
        self.rota.remove(consumer)
        if self.active is consumer:
            self.active = self.rota.first()
        if self.rota.all:
            return
        if self.auto_delete:
            self.broker.drop_queue(self)
        else:
            self.touch()

    @property
    def is_single(self) -> bool:
        """Whether one consumer at a time gets everything."""
        return bool(self._single)

    # -- how long it lives ---------------------------------------------------

    def touch(self) -> None:
        """Start the queue's own time to live again: somebody uses it."""
        period = self.arguments.get("x-expires")
        if period is not None:
            self._lease = self.broker.clock.monotonic() + period / 1000
            self.broker.timers.at(self._lease, self._on_lease)

    def _on_lease(self) -> None:
        if self.deleted or self.rota.all or self._lease is None:
            return
        if self._lease <= self.broker.clock.monotonic():
            self.broker.drop_queue(self)


def _is_dead(entry: Entry, now: float) -> bool:
    return entry.expires is not None and entry.expires <= now
