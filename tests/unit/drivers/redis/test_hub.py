"""What the hub of an asyncio worker takes in: Kombu's own loop over our claims."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import kombu
import pytest

from celery_async_bridge.drivers.redis import hub as module
from celery_async_bridge.install import install, sew, uninstall
from tests.unit.drivers.redis.hub_site import SLOT, SOON, Site


@pytest.fixture
def site(redis_url: str, unique: str) -> Iterator[Site]:
    found = Site(redis_url, unique)
    yield found
    found.close()


def test_what_comes_is_noted_as_kombu_notes_it(site: Site) -> None:
    site.put({"n": 1}, headers={"long": 12345678901234567890, "ü": "/é"})
    site.consume()
    site.come(1)
    ours = site.noted()
    site.connection.close()  # it goes back
    with site.connect() as connection:
        channel = connection.default_channel
        kombu.Queue("q")(channel).get()
        theirs = site.noted()
    assert list(ours) == list(theirs)
    (ours,), (theirs,) = ours.values(), theirs.values()
    assert theirs[0]["headers"].pop("redelivered")
    assert theirs[0]["properties"]["delivery_info"].pop("redelivered")
    assert ours == theirs


def test_many_come_at_once_and_their_acks_leave_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put(*range(30))
    site.consume()
    assert site.come(30) == list(range(30))
    site.idle()
    connection = site.channel.client.connection
    writes: list[bytes] = []
    real = connection.send_packed_command

    def send(command: Any, **kwargs: Any) -> Any:
        writes.append(b"".join(command))
        return real(command, **kwargs)

    monkeypatch.setattr(connection, "send_packed_command", send)
    site.ack(*site.got)
    site.until(lambda: not site.noted())
    assert len([one for one in writes if b"EVAL" in one]) == 1


@pytest.mark.parametrize("prefetch", [1, 3])
def test_there_are_never_more_than_may_be(site: Site, prefetch: int) -> None:
    site.put(*range(10))
    site.consume(prefetch=prefetch)
    for done in range(10):
        site.come(min(done + prefetch, 10))
        site.turn(3)
        assert len(site.got) == min(done + prefetch, 10)
        assert len(site.noted()) == min(prefetch, 10 - done)
        site.ack(site.got[done])
    site.until(lambda: not site.noted())


def test_claims_ahead_keep_to_the_limit(site: Site) -> None:
    site.put(*range(400))
    site.consume(prefetch=150)
    for done in range(0, 400, 50):
        assert len(site.come(min(done + 150, 400))) == min(done + 150, 400)
        site.turn(3)
        assert len(site.noted()) == min(150, 400 - done)
        site.ack(*site.got[done : done + 50])
    site.until(lambda: not site.noted())
    assert [message.payload for message in site.got] == list(range(400))


def test_a_limit_that_is_lowered_holds_for_what_is_on_its_way(site: Site) -> None:
    site.consume(prefetch=9)
    site.idle()
    site.put(*range(9))
    site.until(lambda: site.intake._claiming)
    site.intake.flush()
    site.channel.basic_qos(0, 2, False)
    site.come(2)
    site.until(lambda: site.waiting() == 7)
    assert len(site.noted()) == 2
    site.channel.basic_qos(0, 0, False)
    assert site.come(9) == list(range(9))


def test_a_qos_that_decides_itself_is_asked_for_each(site: Site) -> None:
    """As `worker_disable_prefetch` makes it."""
    site.put(*range(5))
    site.consume()
    site.channel.qos.can_consume = lambda: len(site.got) < 3
    site.come(3)
    site.turn(5)
    assert [message.payload for message in site.got] == [0, 1, 2]
    assert (len(site.noted()), site.waiting()) == (3, 2)
    site.ack(*site.got)
    # The server answers, and that is not the end of the connection.
    before = site.channel.client.connection._sock
    site.until(lambda: not site.noted())
    site.turn(5)
    assert site.channel.client.connection._sock is before


@pytest.mark.parametrize("turns", range(6))
def test_nothing_is_left_behind_when_a_consumer_is_cancelled(
    site: Site, turns: int
) -> None:
    consumer = site.consume(prefetch=2)
    site.put(*range(9))
    site.turn(turns)
    consumer.cancel()
    site.turn(3)
    assert len(site.noted()) == len(site.got)
    assert site.waiting() == 9 - len(site.got)
    consumer.consume()
    site.until(lambda: len(site.got) == 2)


@pytest.mark.parametrize("turns", range(6))
def test_everything_is_back_when_the_connection_was_closed(
    site: Site, turns: int
) -> None:
    site.put(*range(9))
    site.consume(prefetch=4)
    site.turn(turns)
    for message in site.got[:2]:
        message.ack()
    site.connection.close()
    assert site.noted() == {}
    assert site.waiting() == 9 - len(site.got[:2])


def test_a_consumer_may_be_added(site: Site) -> None:
    consumer = site.consume("q")
    site.idle()
    site.put("here", name="other")
    consumer.add_queue(kombu.Queue("other"))
    consumer.consume()
    assert site.come(1) == ["here"]


def test_consumers_without_acks_leave_nothing_noted(site: Site) -> None:
    site.put(*range(5))
    site.consume(no_ack=True)
    assert site.come(5) == list(range(5))
    site.until(lambda: not site.noted())


def test_reject_and_requeue_do_what_they_do(site: Site) -> None:
    site.put("gone", "again")
    site.consume()
    site.come(2)
    site.got[0].reject()
    site.got[1].requeue()
    assert site.come(3)[2] == "again"
    site.until(lambda: len(site.noted()) == 1)


@pytest.mark.parametrize("strategy", ["round_robin", "sorted", "priority"])
def test_queues_and_priorities_come_in_the_same_order(
    site: Site, strategy: str
) -> None:
    def fill() -> None:
        for number in range(4):
            for name in ("b", "a"):
                for priority in (6, 0):
                    body = [name, priority, number]
                    site.put(body, name=name, priority=priority)

    def order(served: bool) -> list[Any]:
        site.got.clear()
        fill()
        options: Any = {"queue_order_strategy": strategy}
        consumer = site.consume("b", "a", served=served, **options)
        while len(site.got) < 16:
            if served:
                site.turn()
            else:
                site.connection.drain_events(timeout=SOON)
        bodies = [message.payload for message in site.got]
        for message in site.got:
            message.ack()
        consumer.cancel()
        site.connection.close()
        return bodies

    assert order(True) == order(False)


def test_who_is_not_served_consumes_as_ever(site: Site) -> None:
    site.put("mine")
    site.consume(served=False)
    site.connection.drain_events(timeout=SOON)
    assert [message.payload for message in site.got] == ["mine"]
    assert SLOT not in vars(site.channel)


def test_a_wait_beside_the_hub_gets_its_message(site: Site) -> None:
    """As the worker's first questions to its peers do."""
    site.consume()
    with pytest.raises(TimeoutError):
        site.connection.drain_events(timeout=0.1)
    site.put("late")
    site.connection.drain_events(timeout=SOON)
    assert [message.payload for message in site.got] == ["late"]
    assert SLOT in vars(site.channel)


def test_the_server_says_when_there_is_something(site: Site) -> None:
    site.consume()
    site.channel.brpop_timeout = 1000
    site.idle()
    for number in range(3):
        site.put(number)
        site.come(number + 1)
        site.idle()


def test_what_the_server_did_not_say_is_found(site: Site) -> None:
    site.consume()
    site.channel.brpop_timeout = 0.01
    site.idle()
    # Now it says nothing any more.
    connection = site.channel.client.connection
    connection.send_command("CLIENT", "TRACKING", "OFF")
    site.intake._line._expected.append(bool)
    site.put("quiet")
    assert site.come(1) == ["quiet"]


def test_a_connection_that_does_not_answer_grows_old(site: Site) -> None:
    """Kombu ends it when it is older than its answer may be."""
    site.consume()
    site.channel.brpop_timeout = 0.01
    site.idle()
    asked = site.channel._brpop_sent_at
    site.until(lambda: site.channel._brpop_sent_at > asked)
    site.until(lambda: not site.intake._line.expects)
    site.intake._line._expected.append(bool)
    asked = site.channel._brpop_sent_at
    time.sleep(0.02)
    site.turn(3)
    assert site.channel._brpop_sent_at == asked
    assert site.channel._in_poll is site.channel.client.connection


def test_unreadable_messages_go_where_they_harm_nobody(site: Site) -> None:
    key = f"{site.prefix}q"
    site.put("odd", "odd", headers={"odd": "?"})
    raw, also = site.server.rpop(key, 2)
    # A lone surrogate: a string that Python's JSON reads and Lua's does not.
    odd = raw.replace(b'"?"', b'"\\ud800"')
    # And bytes that only Lua takes for a string.
    other = also.replace(b'"?"', b'"\xff"')
    site.server.lpush(key, b"no json", b'{"properties": {}}', other, odd)
    site.put("fine")
    site.consume()
    assert sorted(site.come(2)) == ["fine", "odd"]
    site.until(lambda: site.server.llen(f"{key}.undecodable") == 3)
    assert len(site.noted()) == 2


# -- when the connection is lost -----------------------------------------------------


def until_lost(site: Site) -> None:
    with pytest.raises(site.connection.connection_errors):
        site.until(lambda: False)
    site.again()


def test_acks_that_were_not_heard_are_said_again(site: Site) -> None:
    site.put(*range(5))
    site.consume()
    site.come(5)
    site.idle()
    for message in site.got[:3]:
        message.ack()
    site.cut()
    until_lost(site)
    site.until(lambda: len(site.noted()) == 2)


def test_a_late_ack_leaves_alone_what_others_have_by_now(site: Site) -> None:
    site.put("mine")
    site.consume()
    site.come(1)
    site.idle()
    site.got[0].ack()
    site.cut()
    (tag,) = site.noted()
    # Somebody has restored it and has it now.
    site.server.zadd(f"{site.prefix}unacked_index", {tag: time.time() + 5})
    until_lost(site)
    site.idle()
    assert list(site.noted()) == [tag]


def test_a_claim_that_was_not_answered_comes_back(site: Site) -> None:
    site.consume()
    site.idle()
    site.put(*range(5))
    site.until(lambda: site.intake._claiming)
    site.intake.flush()
    end = time.monotonic() + SOON
    while site.waiting():
        assert time.monotonic() < end
    # Nobody reads the reply.
    site.channel.client.connection.disconnect()
    site.again()
    assert len(site.noted()) == 5
    assert sorted(site.come(5)) == list(range(5))


def test_tasks_that_end_when_there_is_no_connection_ack_as_ever(site: Site) -> None:
    site.put("mine")
    site.consume()
    site.come(1)
    site.channel.client.connection.disconnect()
    site.got[0].ack()
    assert site.noted() == {}


# -- when the server cannot do it ----------------------------------------------------


def test_without_what_it_needs_kombu_goes_on_alone(site: Site, unique: str) -> None:
    rules = ["on", "nopass", "~*", "&*", "+@all", "-client|tracking"]
    site.server.execute_command("ACL", "SETUSER", unique, *rules)
    try:
        site.url = site.url.replace("redis://", f"redis://{unique}:x@")
        site.put(*range(5))
        site.consume(prefetch=3)
        assert site.come(3) == [0, 1, 2]
        for message in list(site.got):
            message.ack()
        assert site.come(5) == list(range(5))
        assert site.intake.stock
        site.connection.close()
    finally:
        site.server.execute_command("ACL", "DELUSER", unique)


def test_the_seams_come_off_with_all_others() -> None:
    rows = module.hub_seams()
    install()
    sew(rows)
    changed = [vars(row.owner)[row.name] for row in rows]
    uninstall()
    try:
        assert len(rows) == 4
        for row, was in zip(rows, changed, strict=True):
            assert vars(row.owner)[row.name] is was.__wrapped__
            assert row.scope == "b"
            assert row.reason
    finally:
        install()
