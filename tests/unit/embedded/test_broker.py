"""The broker of this process, by itself; the rest is in tests/differential."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from celery_async_bridge.embedded import places
from celery_async_bridge.embedded.broker import Broker
from celery_async_bridge.embedded.channel import Channel
from celery_async_bridge.embedded.errors import Refused
from celery_async_bridge.embedded.message import Message
from celery_async_bridge.embedded.session import Session
from celery_async_bridge.embedded.store import Store
from tests.differential.clock import HandClock

if TYPE_CHECKING:
    from celery_async_bridge.embedded.queue import Queue


class Bench:
    """A broker with a clock moved by hand, one session and one channel."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.broker = Broker("bench", self.clock)
        self.session = Session(self.broker)
        self.channel = Channel(self.session, 1)

    def queue(self, name: str, **arguments: Any) -> Queue:
        with self.broker.turn():
            return self.broker.declare_queue(
                name,
                self.session,
                passive=False,
                durable=False,
                exclusive=False,
                auto_delete=False,
                arguments={f"x-{k.replace('_', '-')}": v for k, v in arguments.items()},
            )

    def publish(self, key: str, body: bytes = b"x", **options: Any) -> None:
        delay = options.pop("delay", 0.0)
        with self.broker.turn():
            self.channel.publish(Message("", (key,), options, body, delay), False)

    def consume(self, name: str, tag: str = "t", no_ack: bool = False) -> None:
        with self.broker.turn():
            self.channel.consume(
                name, tag, no_ack=no_ack, exclusive=False, arguments={}
            )

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        with self.broker.turn():
            pass

    def bodies(self) -> list[bytes]:
        found = []
        while (event := self.session.read()) is not None:
            if event[1] == "deliver":
                found.append(event[2][2].message.body)
        return found


def test_message_that_expires_behind_another_dies_with_it_at_the_head() -> None:
    bench = Bench()
    queue = bench.queue("q", message_ttl=1000, dead_letter_exchange="", **DEAD)
    dead = bench.queue("dead")
    bench.publish("q", b"long")
    bench.publish("q", b"short", expiration="10")
    bench.advance(0.5)
    assert (len(queue.ready), len(dead.ready)) == (2, 0)
    bench.advance(0.6)
    assert (len(queue.ready), len(dead.ready)) == (0, 2)


def test_what_overtakes_by_priority_expires_when_the_queue_is_next_used() -> None:
    bench = Bench()
    queue = bench.queue("q", max_priority=5)
    bench.publish("q", b"low")
    bench.publish("q", b"high", priority=5, expiration="0")
    bench.publish("q", b"high too", priority=5, expiration="0")
    assert len(queue.ready) == 3
    with bench.broker.turn():
        found = bench.channel.get("q", True)
    assert found is not None
    assert (found[1].message.body, len(queue.ready)) == (b"high", 1)


def test_limit_of_consumers_ends_the_limit_of_the_channel() -> None:
    bench = Bench()
    bench.queue("q")
    with bench.broker.turn():
        bench.channel.qos(0, 1, True)
    bench.consume("q")
    for body in (b"1", b"2"):
        bench.publish("q", body)
    assert bench.bodies() == [b"1"]
    with bench.broker.turn():
        bench.channel.qos(0, 5, False)
    assert bench.bodies() == [b"2"]


def test_full_channel_holds_back_who_acknowledges_nothing() -> None:
    bench = Bench()
    bench.queue("q")
    for body in (b"1", b"2", b"3"):
        bench.publish("q", body)
    with bench.broker.turn():
        held = bench.channel.get("q", False)
        bench.channel.qos(0, 1, True)
    bench.consume("q", no_ack=True)
    assert bench.bodies() == []
    assert held is not None
    with bench.broker.turn():
        # As RabbitMQ does: what `basic.get` took counts, and its end does not.
        bench.channel.ack(held[0], False)
        bench.channel.qos(0, 2, True)
    assert bench.bodies() == [b"2", b"3"]


def test_credit_of_many_comes_back_to_one_consumer_after_the_other() -> None:
    bench = Bench()
    bench.queue("q")
    with bench.broker.turn():
        bench.channel.qos(0, 2, False)
    bench.consume("q", "c0")
    bench.consume("q", "c1")
    for number in range(8):
        bench.publish("q", b"%d" % number)
    assert bench.bodies() == [b"0", b"1", b"2", b"3"]
    with bench.broker.turn():
        # Two of the one, and one of the other: 0 and 2, and 1.
        bench.channel.ack(3, True)
    got = [(item[2][0].tag, item[2][2].message.body) for item in bench.session.inbox]
    assert got == [("c0", b"4"), ("c0", b"5"), ("c1", b"6")]


def test_message_that_dies_for_ever_gives_the_broker_back() -> None:
    bench = Bench()
    for name, other in (("a", "b"), ("b", "a")):
        bench.queue(
            name,
            message_ttl=0,
            dead_letter_exchange="",
            dead_letter_routing_key=other,
        )
    bench.consume("a")
    bench.publish("a")
    assert bench.bodies() == [b"x"]
    with bench.broker.turn():
        bench.channel.cancel("t")
        tag = next(iter(bench.channel._held))
        bench.channel.reject(tag, multiple=False, requeue=False)
    bench.advance(1.0)
    bench.consume("a", "again")
    bench.consume("b", "too")
    bench.advance(1.0)
    (message,) = [item[2][1:][1].message for item in bench.session.inbox]
    died = {(one["queue"], one["reason"]) for one in message.headers["x-death"]}
    assert died == {("a", "rejected"), ("a", "expired"), ("b", "expired")}


DEAD = {"dead_letter_routing_key": "dead"}


def test_queue_nobody_uses_expires_and_a_used_one_does_not() -> None:
    bench = Bench()
    bench.queue("idle", expires=100)
    bench.queue("used", expires=100)
    bench.consume("used")
    bench.advance(0.2)
    assert "idle" not in bench.broker.queues
    assert "used" in bench.broker.queues
    with bench.broker.turn():
        bench.channel.cancel("t")
    bench.advance(0.05)
    assert "used" in bench.broker.queues
    bench.advance(0.06)
    assert "used" not in bench.broker.queues


def test_delayed_message_arrives_when_it_is_due_and_not_before() -> None:
    bench = Bench()
    queue = bench.queue("q")
    bench.consume("q")
    bench.publish("q", b"later", delay=5.0)
    bench.publish("q", b"now")
    bench.publish("q", b"sooner", delay=2.0)
    assert bench.bodies() == [b"now"]
    assert bench.broker.timers.next() == pytest.approx(2.0)
    bench.advance(1.9)
    assert bench.bodies() == []
    bench.advance(4.0)
    assert bench.bodies() == [b"sooner", b"later"]
    assert len(queue.ready) == 0


def test_purge_takes_what_is_delayed_too() -> None:
    bench = Bench()
    queue = bench.queue("q")
    bench.publish("q", delay=5.0)
    bench.publish("q")
    with bench.broker.turn():
        assert queue.purge() == 1
    bench.advance(6)
    assert len(queue.ready) == 0


@pytest.mark.parametrize("no_ack", [False, True])
def test_cancel_gives_back_in_order_what_nobody_has_read(no_ack: bool) -> None:
    bench = Bench()
    queue = bench.queue("q")
    bench.consume("q", no_ack=no_ack)
    for body in (b"1", b"2", b"3"):
        bench.publish("q", body)
    assert bench.session.read() is not None
    with bench.broker.turn():
        bench.channel.cancel("t")
    assert bench.session.read() is None
    left = [queue.ready.pop() for _ in range(len(queue.ready))]
    assert [one.message.body for one in left] == [b"2", b"3"]
    assert not any(one.redelivered for one in left)


def test_closing_a_channel_loses_nothing_that_nobody_has_read() -> None:
    bench = Bench()
    queue = bench.queue("q")
    bench.consume("q", "a")
    bench.consume("q", "b", no_ack=True)
    for body in (b"1", b"2", b"3", b"4"):
        bench.publish("q", body)
    bench.session.close()
    left = [queue.ready.pop() for _ in range(len(queue.ready))]
    assert [one.message.body for one in left] == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("code", "call"),
    [
        (503, lambda b: b.broker.declare_exchange("x", "odd", **PLAIN)),
        (540, lambda b: b.channel.qos(1, 0, False)),
        (540, lambda b: b.channel.recover(False)),
        (530, lambda b: (b.consume("q"), b.consume("q"))),
    ],
)
def test_what_ends_a_connection_says_so(code: int, call: Any) -> None:
    bench = Bench()
    bench.queue("q")
    with pytest.raises(Refused) as caught:
        call(bench)
    assert caught.value.code == code
    assert caught.value.hard


PLAIN: dict[str, Any] = {
    "passive": False,
    "durable": False,
    "auto_delete": False,
    "internal": False,
    "arguments": {},
}


def test_internal_exchange_takes_messages_from_exchanges_only() -> None:
    bench = Bench()
    queue = bench.queue("q")
    bench.broker.declare_exchange("in", "fanout", **{**PLAIN, "internal": True})
    bench.broker.declare_exchange("out", "fanout", **PLAIN)
    bench.broker.bind(("exchange", "in"), "out", "", {})
    bench.broker.bind(("queue", "q"), "in", "", {})
    with bench.broker.turn():
        bench.channel.publish(Message("out", ("",), {}, b"x"), False)
    assert len(queue.ready) == 1
    with pytest.raises(Refused, match="internal exchange"):
        bench.channel.publish(Message("in", ("",), {}, b"x"), False)


def test_quorum_queue_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="classic queues only"):
        Bench().queue("q", queue_type="quorum")


def test_waiter_is_woken_for_a_deadline_that_comes_before_all_others() -> None:
    bench = Bench()
    bench.queue("q")
    rings: list[int] = []
    other = Session(bench.broker)
    other.watch(lambda: rings.append(1))
    bench.publish("q", delay=5.0)
    bench.publish("q", delay=9.0)
    bench.publish("q", delay=1.0)
    assert len(rings) == 2


def test_threads_share_a_broker_without_losing_or_doubling_a_message() -> None:
    broker = Broker("threads")
    with broker.turn():
        session = Session(broker)
        queue = broker.declare_queue(
            "q",
            session,
            passive=False,
            durable=False,
            exclusive=False,
            auto_delete=False,
            arguments={},
        )
    got: list[bytes] = []

    def produce(number: int) -> None:
        channel = Channel(Session(broker), 1)
        for index in range(200):
            with broker.turn():
                body = f"{number}-{index}".encode()
                channel.publish(Message("", ("q",), {}, body), False)

    def consume() -> None:
        mine = Session(broker)
        channel = Channel(mine, 1)
        bell = threading.Event()
        mine.watch(bell.set)
        with broker.turn():
            channel.qos(0, 5, False)
            channel.consume("q", "t", no_ack=False, exclusive=False, arguments={})
        while len(got) < 800:
            event = mine.read()
            if event is None:
                bell.wait(0.2)
                bell.clear()
                continue
            got.append(event[2][2].message.body)
            with broker.turn():
                channel.ack(event[2][1], False)

    threads = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=consume) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == len(set(got)) == 800
    assert len(queue.ready) == 0


def test_names_are_worlds_of_their_own() -> None:
    try:
        assert places.broker("one") is places.broker("one")
        assert places.broker("one") is not places.broker("ONE")
        assert places.store("one") is not places.store("two")
    finally:
        for name in ("one", "ONE", "two"):
            places.forget(name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_child_of_a_fork_gets_an_error_that_names_the_owner() -> None:
    broker = places.broker("parent")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            for use in (broker.turn().__enter__, lambda: places.broker("parent")):
                try:
                    use()
                except ConnectionError as exc:
                    os.write(writer, str(exc).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    places.forget("parent")
    assert said.count(f"lives in process {os.getpid()}") == 2
    assert "redis://" in said


def test_store_forgets_in_time_and_counts() -> None:
    clock = HandClock()
    store = Store(clock)
    store.set("a", 1, 10)
    store.set("b", 2)
    store.expire("b", 5)
    store.set("a", 3, 20)
    assert [store.add("n"), store.add("n")] == [1, 2]
    clock.advance(11)
    assert store.get_many(["a", "b", "n"]) == [3, None, 2]
    clock.advance(10)
    assert len(store) == 1
    store.delete("n")
    assert store.get("n") is None
