"""From the file into a broker when it is opened, and what an orderly end adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..exchange import Exchange
from ..message import Message
from ..queue import Queue
from . import codec

if TYPE_CHECKING:
    from ..broker import Broker
    from ..message import Entry
    from ..store import Store
    from .file import File

__all__ = ("end", "load", "load_results")


def load(file: File, broker: Broker) -> int:
    """Fill a new broker with what is in its file; return the last row.

    After an orderly end a message is marked as redelivered if somebody had it. After
    any other end nobody knows, so that all of them are.
    """
    last: int = _load_topology(file, broker)
    state = dict(file.read("SELECT name, value FROM state"))
    ((top,),) = file.read("SELECT coalesce(max(id), 0) FROM messages")
    last = max(last, top)
    had = state.get("had", 0) if state.get("orderly") else last
    _load_messages(file, broker, had)
    with file.transaction():
        file.run(
            "INSERT OR REPLACE INTO state VALUES (?, ?)", [("orderly", 0), ("had", had)]
        )
    return last


def _load_topology(file: File, broker: Broker) -> int:
    last = 0
    for row, text in file.read("SELECT id, head FROM topology ORDER BY id"):
        kind, *head = codec.read(text)
        _KINDS[kind](broker, row, *head)
        last = row
    return last


def _exchange(
    broker: Broker,
    row: int,
    name: str,
    kind: str,
    auto_delete: bool,
    internal: bool,
    arguments: dict[str, Any],
) -> None:
    made = Exchange(name, kind, True, auto_delete, internal, arguments)
    made.row = row
    broker.exchanges[name] = made


def _queue(
    broker: Broker, row: int, name: str, auto_delete: bool, arguments: dict[str, Any]
) -> None:
    broker.queues[name] = made = Queue(
        broker,
        name,
        durable=True,
        auto_delete=auto_delete,
        owner=None,
        arguments=arguments,
    )
    made.row = row


def _binding(
    broker: Broker,
    row: int,
    source: str,
    kind: str,
    name: str,
    key: str,
    arguments: dict[str, Any],
) -> None:
    made = broker.exchanges[source].bind((kind, name), key, arguments)
    if made is not None:
        made.row = row


_KINDS: dict[str, Callable[..., None]] = {
    "exchange": _exchange,
    "queue": _queue,
    "binding": _binding,
}


def _load_messages(file: File, broker: Broker, had: int) -> None:
    clock = broker.clock
    shift = clock.monotonic() - clock.time()
    queues = {queue.row: queue for queue in broker.queues.values()}
    for row, queue_row, expires, due, redelivered, text, body in file.read(
        "SELECT id, queue, expires, due, redelivered, head, body FROM messages"
        " ORDER BY id"
    ):
        queue = queues.get(queue_row)
        if queue is None:
            continue
        exchange, keys, properties = codec.read(text)
        message = Message(exchange, tuple(keys), properties, body)
        if due is not None:
            queue.restore_later(message, due + shift, row)
            continue
        when = None if expires is None else expires + shift
        queue.restore(message, when, row, bool(redelivered) or row <= had)
    for queue in queues.values():
        queue.restored()


def load_results(file: File, store: Store) -> None:
    """Fill a new store with the results of a file."""
    shift = store.clock.monotonic() - store.clock.time()
    for key, value, expires in file.read("SELECT key, value, expires FROM results"):
        store.restore(key, value, None if expires is None else expires + shift)


def end(file: File, broker: Broker) -> None:
    """Note which messages somebody has had: the end is an orderly one."""
    had = [(entry.row,) for entry in _had(broker) if entry.row]
    with file.transaction():
        file.run("UPDATE messages SET redelivered = 1 WHERE id = ?", had)
        file.run("INSERT OR REPLACE INTO state VALUES (?, ?)", [("orderly", 1)])


def _had(broker: Broker) -> list[Entry]:
    found = [
        entry
        for queue in broker.queues.values()
        for entry in queue.ready
        if entry.redelivered
    ]
    for session in broker.sessions:
        for channel in session.channels.values():
            found += channel.held()
    return found
