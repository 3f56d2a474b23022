"""One channel: consumers, credit, and what has not been acknowledged."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .arguments import type_name
from .consumers import Consumer
from .errors import Refused, bad_argument, denied

if TYPE_CHECKING:
    from .message import Entry, Message
    from .queue import Queue
    from .session import Session

__all__ = ("Channel",)


class _Held:
    """A message that somebody holds."""

    __slots__ = ("consumer", "entry", "queue")

    def __init__(self, queue: Queue, entry: Entry, consumer: Consumer | None) -> None:
        self.queue = queue
        self.entry = entry
        self.consumer = consumer


class Channel:
    """A channel of a session; its methods are AMQP's, under the broker's lock."""

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.broker = session.broker
        self.number = number
        self.last_queue = ""
        self.confirms = False
        self.closed = False
        self._published = 0
        self._tag = 0
        self._held: dict[int, _Held] = {}
        self._consumers: dict[str, Consumer] = {}
        self._prefetch = 0
        self._shared = 0
        self._in_hand = 0
        session.channels[number] = self

    # -- credit and delivery -------------------------------------------------

    def has_room(self) -> bool:
        """Whether the limit of the whole channel allows one more."""
        return not self._shared or self._in_hand < self._shared

    def qos(self, size: int, count: int, shared: bool) -> None:
        """Limit what may be unacknowledged.

        Arguments:
            size: must be 0; RabbitMQ has no limit in bytes.
            count: messages; 0 for no limit.
            shared: whether it is for the whole channel; else it is for each new
                consumer, and the limit of the channel ends.
        """
        if size:
            raise Refused(540, f"prefetch_size!=0 ({size})")
        if not shared:
            self._prefetch = count
        elif not self._shared:
            # RabbitMQ starts to count here, with what `basic.get` has taken.
            self._in_hand = len(self._held)
        self._shared = count if shared else 0
        self._resume(list(self._consumers.values()))

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Send a message to a consumer of this channel."""
        self._tag += 1
        if consumer.no_ack:
            consumer.queue.settle(entry)
        else:
            self._held[self._tag] = _Held(consumer.queue, entry, consumer)
            self._in_hand += 1
            if consumer.credit is not None:
                consumer.credit -= 1
        self.session.tell(
            self.number, "deliver", consumer, self._tag, entry, entry.redelivered
        )

    def get(self, name: str, no_ack: bool) -> tuple[int, Entry, int] | None:
        """Take one message: its tag, itself, and how many are left."""
        queue = self.queue(name)
        entry = queue.get()
        if entry is None:
            return None
        self._tag += 1
        if no_ack:
            queue.settle(entry)
        else:
            self._held[self._tag] = _Held(queue, entry, None)
        return self._tag, entry, queue.ready.length

    # -- consumers -----------------------------------------------------------

    def consume(
        self,
        name: str,
        tag: str,
        *,
        no_ack: bool,
        exclusive: bool,
        arguments: dict[str, Any],
    ) -> str:
        """Start a consumer; return its tag."""
        if tag and tag in self._consumers:
            raise Refused(530, f"attempt to reuse consumer tag '{tag}'")
        queue = self.queue(name)
        priority = arguments.get("x-priority", 0)
        if isinstance(priority, bool) or not isinstance(priority, int):
            why = f'"expected integer, got {type_name(priority)}"'
            raise bad_argument("queue", queue.name, "x-priority", why)
        taken = any(one.exclusive for one in queue.rota.all.values())
        if taken or (exclusive and (queue.rota.all or queue.is_single)):
            raise denied(f"queue '{queue.name}' in vhost '/' in exclusive use")
        tag = tag or f"amq.ctag-{uuid.uuid4().hex}"
        consumer = self._consumers[tag] = Consumer(
            self,
            queue,
            tag,
            no_ack=no_ack,
            exclusive=exclusive,
            priority=priority,
            prefetch=self._prefetch,
        )
        queue.subscribe(consumer)
        return tag

    def cancel(self, tag: str) -> None:
        """End a consumer; what it has not read goes back as if never sent."""
        consumer = self._consumers.pop(tag, None)
        if consumer is not None:
            self._take_back(consumer)
            consumer.queue.leave(consumer)
            consumer.queue.run()

    def _take_back(self, consumer: Consumer) -> None:
        kept: deque[Any] = deque()
        entries: list[Entry] = []
        for item in self.session.inbox:
            if item[1] == "deliver" and item[2][0] is consumer:
                tag, entry, redelivered = item[2][1:]
                if self._held.pop(tag, None) is not None:
                    self._in_hand -= 1
                entry.redelivered = redelivered
                entries.append(entry)
            else:
                kept.append(item)
        self.session.inbox = kept
        if entries:
            consumer.credit = 0
            if not consumer.blocked:
                consumer.queue.rota.block(consumer)
            consumer.no_ack = False
            consumer.queue.requeue(entries, redelivered=False)

    def forget(self, consumer: Consumer) -> None:
        """Tell the client that a consumer's queue is gone."""
        if self._consumers.pop(consumer.tag, None) is not None:
            self.session.tell(self.number, "cancel", consumer.tag)

    # -- acknowledgements ----------------------------------------------------

    def ack(self, tag: int, multiple: bool) -> None:
        """Acknowledge one message, or all up to it."""
        one = None if multiple else self._held.get(tag)
        by = None if one is None else one.consumer
        if one is None or by is None or by.credit is not None or self._shared:
            self._settle(self._select(tag, multiple))
            return
        # Without limits nobody has waited for it.
        del self._held[tag]
        self._in_hand -= 1
        one.queue.settle(one.entry)

    def reject(self, tag: int, multiple: bool, requeue: bool) -> None:
        """Put messages back, or let them die."""
        held = self._select(tag, multiple)
        if requeue:
            self._requeue(held)
            return
        # RabbitMQ goes by consumer, those of `basic.get` first.
        for one in sorted(
            held, key=lambda one: one.consumer.tag if one.consumer else ""
        ):
            if not one.queue.deleted:
                self.broker.bury(one.queue, one.entry.message, "rejected")
        if self._shared:
            # Credit of a whole channel takes a detour: dead letters are there before.
            self.broker.bury_all()
        self._settle(held)

    def recover(self, requeue: bool) -> None:
        """Put back everything that is not acknowledged."""
        if not requeue:
            raise Refused(540, "requeue=false")
        self._requeue(self._select(0, True))

    def _select(self, tag: int, multiple: bool) -> list[_Held]:
        if multiple and tag == 0:
            found, self._held = list(self._held.values()), {}
            return found
        if tag not in self._held:
            raise Refused(406, f"unknown delivery tag {tag}")
        # Tags grow, so the table is in their order.
        tags = [tag]
        if multiple:
            tags = [one for one in self._held if one <= tag]
        return [self._held.pop(one) for one in tags]

    def _settle(self, held: list[_Held]) -> None:
        for one in held:
            if one.entry.row:
                one.queue.settle(one.entry)
        # The limit of a whole channel is looked at when all of it is done.
        groups = [held] if self._shared else _by_consumer(held)
        for group in groups:
            self._run(self._credit(group))

    def _credit(self, held: list[_Held]) -> dict[Queue, None]:
        """Give the credit of messages back; return whose consumers may go on."""
        was_full = not self.has_room()
        consumers: dict[Consumer, None] = {}
        for one in held:
            if one.consumer is not None:
                self._in_hand -= 1
                consumers[one.consumer] = None
                if one.consumer.credit is not None:
                    one.consumer.credit += 1
        if was_full and self.has_room():
            consumers.update(dict.fromkeys(self._consumers.values()))
        return {one.queue: None for one in consumers if not one.queue.deleted}

    def _run(self, queues: dict[Queue, None]) -> None:
        for queue in queues:
            if queue.rota.unblock(self):
                queue.run()

    def _resume(self, consumers: list[Consumer]) -> None:
        self._run({one.queue: None for one in consumers if not one.queue.deleted})

    def _requeue(self, held: list[_Held]) -> None:
        # As `reject`: one consumer after the other, so that what one gives back may be
        # delivered, or die, before the next one's is there.
        for group in _by_consumer(held):
            at, queues = group[0].queue, self._credit(group)
            for queue in queues:
                queue.rota.unblock(self)
            at.requeue([one.entry for one in group])
            for queue in queues.keys() - {at}:
                queue.run()

    # -- publishing ----------------------------------------------------------

    def select_confirms(self) -> None:
        """Count what is published from now on, and confirm it."""
        self.confirms = True

    def publish(self, message: Message, mandatory: bool) -> tuple[bool, bool]:
        """Publish; return whether it was returned, and whether it was taken."""
        queues = self.broker.route(message)
        taken = True
        for queue in queues:
            taken = queue.publish(message) and taken
        return mandatory and not queues, taken

    def take_back(self, rows: range) -> None:
        """Take messages back that could not be stored, and that nobody has got yet.

        Arguments:
            rows: where they should be.
        """
        with self.broker.turn():
            for row in rows:
                for queue in self.broker.queues.values():
                    queue.take_back(row)

    def next_confirm(self) -> int:
        """Count one publish in confirm mode; return its number."""
        self._published += 1
        return self._published

    def held(self) -> Iterator[Entry]:
        """Go through what was delivered and is not acknowledged."""
        return (one.entry for one in self._held.values())

    # -- the end -------------------------------------------------------------

    def queue(self, name: str) -> Queue:
        """Return a queue by name, the last declared one for an empty name."""
        if not name and not self.last_queue:
            raise Refused(404, "no previously declared queue")
        return self.broker.queue(name or self.last_queue, self.session)

    def close(self) -> None:
        """Close: consumers leave, what is not acknowledged goes back."""
        self.closed = True
        self.session.channels.pop(self.number, None)
        held, self._held = self._held, {}
        unread: list[_Held] = []
        kept: deque[Any] = deque()
        for item in self.session.inbox:
            if item[0] != self.number:
                kept.append(item)
            elif item[1] == "deliver" and item[2][0].no_ack:
                # No acknowledgement is due, but nobody has had it.
                unread.append(_Held(item[2][0].queue, item[2][2], None))
        self.session.inbox = kept
        consumers, self._consumers = list(self._consumers.values()), {}
        back: dict[Queue, list[Entry]] = {}
        for one in (*held.values(), *unread):
            back.setdefault(one.queue, []).append(one.entry)
        for consumer in consumers:
            consumer.queue.leave(consumer)
            back.setdefault(consumer.queue, [])
        for queue, entries in back.items():
            queue.requeue(entries)


def _by_consumer(held: list[_Held]) -> list[list[_Held]]:
    """Group messages as RabbitMQ goes through them: by queue and consumer."""
    if len(held) == 1:
        return [held]
    groups: dict[tuple[str, str, Queue], list[_Held]] = {}
    for one in held:
        tag = one.consumer.tag if one.consumer else ""
        groups.setdefault((one.queue.name, tag, one.queue), []).append(one)
    return [groups[key] for key in sorted(groups, key=lambda key: key[:2])]
