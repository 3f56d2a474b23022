"""The broker in a file, by itself: what is there when it is opened again."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from celery_async_bridge.embedded.broker import Broker
from celery_async_bridge.embedded.channel import Channel
from celery_async_bridge.embedded.durable import codec, journal, recovery
from celery_async_bridge.embedded.durable.batch import Batch
from celery_async_bridge.embedded.durable.file import File
from celery_async_bridge.embedded.durable.journal import Journal
from celery_async_bridge.embedded.durable.receipt import ThreadReceipt
from celery_async_bridge.embedded.message import Message
from celery_async_bridge.embedded.session import Session
from celery_async_bridge.embedded.store import Store
from tests.differential.clock import HandClock

if TYPE_CHECKING:
    from pathlib import Path

    from celery_async_bridge.embedded.queue import Queue


class Bench:
    """A broker in a file, with a clock moved by hand, a session and a channel."""

    def __init__(self, path: str, clock: HandClock) -> None:
        self.broker = Broker(path, clock)
        self.store = Store(clock, lock=self.broker.lock)
        self.journal = Journal(path, self.broker, self._load, lambda: None)
        self.broker.journal = self.store.journal = self.journal
        receipt = ThreadReceipt()
        self.journal.open(receipt)
        assert receipt.event.wait(30)
        assert receipt.error is None
        self.session = Session(self.broker)
        self.channel = Channel(self.session, 1)

    def _load(self, file: File, broker: Broker) -> int:
        last = recovery.load(file, broker)
        recovery.load_results(file, self.store)
        return last

    def queue(self, name: str, durable: bool = True, **arguments: Any) -> Queue:
        with self.broker.turn():
            return self.broker.declare_queue(
                name,
                self.session,
                passive=False,
                durable=durable,
                exclusive=False,
                auto_delete=False,
                arguments={f"x-{k.replace('_', '-')}": v for k, v in arguments.items()},
            )

    def exchange(self, name: str, kind: str, durable: bool = True) -> None:
        with self.broker.turn():
            self.broker.declare_exchange(
                name,
                kind,
                passive=False,
                durable=durable,
                auto_delete=False,
                internal=False,
                arguments={},
            )

    def bind(
        self, to: tuple[str, str], source: str, key: str, arguments: Any = None
    ) -> None:
        with self.broker.turn():
            self.broker.bind(to, source, key, arguments or {})

    def publish(
        self, key: str, body: bytes = b"x", to: str = "", mode: int = 2, **options: Any
    ) -> None:
        delay = options.pop("delay", 0.0)
        properties = {"delivery_mode": mode, **options}
        with self.broker.turn():
            message = Message(to, (key,), properties, body, delay)
            self.channel.publish(message, False)

    def get(self, name: str, no_ack: bool = True) -> Any:
        with self.broker.turn():
            found = self.channel.get(name, no_ack)
        return None if found is None else found[1]

    def bodies(self, name: str) -> list[bytes]:
        found = []
        while (entry := self.get(name)) is not None:
            found.append(entry.message.body)
        return found


@contextmanager
def opened(path: Path, clock: HandClock | None = None) -> Iterator[Bench]:
    """Open a file, and end in good order."""
    bench = Bench(str(path), clock or HandClock())
    try:
        yield bench
    finally:
        bench.journal.close(recovery.end)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


def test_what_lasts_comes_back_and_nothing_else(path: Path) -> None:
    headers = {"when": datetime.datetime(2026, 1, 2), "of": [Decimal("1.5"), b"\xff"]}
    with opened(path) as bench:
        bench.exchange("in", "topic")
        bench.exchange("out", "headers")
        bench.exchange("brief", "fanout", durable=False)
        bench.queue("kept", max_priority=3)
        bench.queue("brief", durable=False)
        bench.bind(("exchange", "out"), "in", "a.#")
        bench.bind(("queue", "kept"), "out", "", {"x-match": "any", "k": 1})
        bench.bind(("queue", "kept"), "brief", "")
        bench.publish("kept", b"1", application_headers=headers)
        bench.publish("kept", b"transient", mode=1)
        bench.publish("kept", b"2", priority=2)
        bench.publish("brief", b"gone with its queue")
    with opened(path) as bench:
        assert "brief" not in {*bench.broker.queues, *bench.broker.exchanges}
        first, second = bench.get("kept"), bench.get("kept")
        assert (first.message.body, second.message.body) == (b"2", b"1")
        assert second.message.headers == headers
        assert not first.redelivered
        bench.publish("a.b", b"3", "in", application_headers={"k": 1})
        assert bench.bodies("kept") == [b"3"]
        assert bench.broker.queues["kept"].arguments == {"x-max-priority": 3}


def test_order_holds_across_acks_returns_and_restarts(path: Path) -> None:
    with opened(path) as bench:
        bench.queue("q")
        for number in range(5):
            bench.publish("q", b"%d" % number)
        assert bench.get("q", no_ack=False).message.body == b"0"
        assert bench.get("q", no_ack=True).message.body == b"1"
        assert bench.get("q", no_ack=False).message.body == b"2"
        with bench.broker.turn():
            bench.channel.ack(3, False)
    with opened(path) as bench:
        bench.publish("q", b"5")
        found = [bench.get("q") for _ in range(4)]
        assert [one.message.body for one in found] == [b"0", b"3", b"4", b"5"]
        assert [one.redelivered for one in found] == [True, False, False, False]
        assert bench.get("q") is None
    with opened(path) as bench:
        assert bench.get("q") is None


def test_end_that_was_not_orderly_marks_all_that_was_there(path: Path) -> None:
    with opened(path) as bench:
        bench.queue("q")
        bench.publish("q", b"1")
    with opened(path) as bench:
        bench.publish("q", b"2")
        # As if the process had been killed: nobody notes who has had what.
        bench.journal.close(lambda file, broker: None)
    with opened(path) as bench:
        bench.publish("q", b"3")
    with opened(path) as bench:
        marks = [bench.get("q").redelivered for _ in range(3)]
        assert marks == [True, True, False]


def test_times_go_on_while_nothing_runs(path: Path) -> None:
    clock = HandClock()
    with opened(path, clock) as bench:
        bench.queue("q", message_ttl=10_000)
        bench.queue("later")
        bench.publish("q", b"dies first", expiration="2000")
        bench.publish("q", b"lives")
        bench.publish("later", b"due in 5", delay=5.0)
        bench.publish("later", b"due in 1", delay=1.0)
        bench.publish("later", b"there")
        bench.store.set(b"a", b"short", 2)
        bench.store.set(b"b", "long", 20)
    clock.advance(3)
    with opened(path, clock) as bench:
        assert bench.bodies("q") == [b"lives"]
        assert bench.bodies("later") == [b"there", b"due in 1"]
        assert bench.store.get_many([b"a", b"b"]) == [None, "long"]
        clock.advance(3)
        assert bench.bodies("later") == [b"due in 5"]
        clock.advance(20)
        assert bench.store.get(b"b") is None
    with opened(path, clock) as bench:
        assert bench.bodies("later") == []


def test_dead_letter_is_there_when_the_dead_one_is_gone(path: Path) -> None:
    clock = HandClock()
    with opened(path, clock) as bench:
        bench.queue("dead")
        bench.queue(
            "q", dead_letter_exchange="", dead_letter_routing_key="dead", max_length=1
        )
        bench.publish("q", b"pushed out")
        bench.publish("q", b"rejected")
        bench.get("q", no_ack=False)
        with bench.broker.turn():
            bench.channel.reject(1, multiple=False, requeue=False)
        bench.publish("q", b"expired", expiration="1000")
        clock.advance(2)
        with bench.broker.turn():
            pass
    with opened(path, clock) as bench:
        assert bench.bodies("q") == []
        assert bench.bodies("dead") == [b"pushed out", b"rejected", b"expired"]


def test_what_was_taken_away_stays_away(path: Path) -> None:
    with opened(path) as bench:
        bench.exchange("x", "direct")
        bench.exchange("y", "direct")
        for name in ("deleted", "purged", "unbound", "kept"):
            bench.queue(name)
            bench.publish(name)
            bench.publish(name, delay=60.0)
            bench.bind(("queue", name), "x", "k")
        bench.bind(("queue", "kept"), "y", "k")
    with opened(path) as bench, bench.broker.turn():
        bench.broker.delete_queue("deleted", bench.session, False, False)
        bench.broker.queues["purged"].purge()
        bench.broker.unbind(("queue", "unbound"), "x", "k", {})
        bench.broker.delete_exchange("y", False)
    with opened(path) as bench:
        lengths = {name: len(one.ready) for name, one in bench.broker.queues.items()}
        assert lengths == {"purged": 0, "unbound": 1, "kept": 1}
        assert "y" not in bench.broker.exchanges
        bound = [one.to[1] for one in bench.broker.exchanges["x"].bindings]
        assert bound == ["purged", "kept"]
        assert not bench.broker.queues["purged"]._later
    file = File(str(path))
    try:
        ((count,),) = file.rows("SELECT count(*) FROM messages")
        assert count == 4  # nothing is left that belongs to no queue
    finally:
        file.close()


def test_results_and_counters_are_kept(path: Path) -> None:
    with opened(path) as bench:
        bench.store.set(b"text", "t")
        bench.store.set(b"bytes", b"b")
        bench.store.set(b"gone", b"b")
        bench.store.delete(b"gone")
        bench.store.add(b"n")
        bench.store.add(b"n")
    with opened(path) as bench:
        found = bench.store.get_many([b"text", b"bytes", b"gone"])
        assert found == ["t", b"b", None]
        assert bench.store.add(b"n") == 3


def test_message_that_comes_and_goes_between_two_commits_is_never_written(
    path: Path,
) -> None:
    with opened(path) as bench:
        bench.queue("q")
        with bench.broker.turn():
            bench.publish("q")
            bench.get("q")
            batch = Batch()
            for what, *about in bench.journal._said:
                getattr(batch, what)(*about)
            assert not batch


def test_thread_ends_when_there_is_nothing_to_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LINGER", 0.01)
    with opened(path) as bench:
        bench.queue("q")
        thread = bench.journal._thread
        assert thread is not None
        thread.join(30)
        assert bench.journal._thread is None
        bench.publish("q")
    with opened(path) as bench:
        assert bench.bodies("q") == [b"x"]


@pytest.mark.parametrize(
    "value",
    [
        [],
        ["a", 1, 1.5, True, None, {"k": [{}, {"dict": 1}]}],
        [{"time": 1}, {"bytes": b"x", "n": {"time": datetime.datetime(2026, 1, 2, 3)}}],
        ["\ud800", Decimal("0.1"), {"!": b""}],
    ],
)
def test_codec_gives_back_what_it_got(value: list[Any]) -> None:
    assert codec.read(codec.write(value)) == value


def test_codec_refuses_what_amqp_has_not() -> None:
    with pytest.raises(TypeError, match="no form"):
        codec.write([object()])
