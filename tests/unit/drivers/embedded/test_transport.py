"""Kombu on `embedded://`, in sync code and awaited."""

from __future__ import annotations

import asyncio
import datetime
import gc
import queue
import threading
from decimal import Decimal
from typing import Any

import amqp
import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.exceptions import OperationalError

import celery_async_bridge
from celery_async_bridge.drivers.embedded.address import name_of
from celery_async_bridge.drivers.embedded.properties import delay_of, properties_of
from celery_async_bridge.testing.tripwire import tripwire


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("embedded://", ""),
        ("embedded:///", ""),
        ("embedded://Shop", "Shop"),
        ("embedded://my%20shop/", "my shop"),
        ("localhost", ""),
        (None, ""),
        ("embedded:///no-such/My%20shop.db", "/no-such/My shop.db"),
        ("embedded:////no-such/../shop.db", "/shop.db"),
    ],
)
def test_names(url: str, name: str) -> None:
    assert name_of(url) == name


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("embedded://me:secret@shop", "no users"),
        ("embedded://shop/lib/shop.db", "embedded://NAME"),
        ("embedded://./shop.db", "with three slashes"),
        ("embedded://%2Fshop.db", "with three"),
        ("embedded:///:memory:", "embedded://NAME"),
        ("embedded:///var/lib/", "the path of a file"),
        ("embedded://shop?x=1", "transport options"),
        ("embedded:///shop.db?x=1", "transport options"),
    ],
)
def test_url_that_says_more_than_a_name_is_refused(url: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy) as caught:
        name_of(url)
    assert "secret" not in str(caught.value)


def test_uninstall_takes_the_name_away() -> None:
    Connection("embedded://x").release()
    celery_async_bridge.uninstall()
    with pytest.raises(KeyError, match="No such transport: embedded"):
        _ = Connection("embedded://x").transport
    celery_async_bridge.install()


def test_url_is_kept_as_it_was_written(url: str) -> None:
    with Connection(url) as connection:
        assert connection.as_uri() == url
        assert connection.clone().as_uri() == url


def test_sync_consumer_waits_for_another_thread(url: str) -> None:
    got: list[Any] = []
    q = Queue("q", Exchange("x", "topic"), routing_key="a.#")
    with Connection(url) as reading, Connection(url) as writing:

        def received(body: Any, message: Any) -> None:
            got.append(body)
            message.ack()

        with Consumer(reading, [q], callbacks=[received]):
            with pytest.raises(TimeoutError):
                reading.drain_events(timeout=0.01)
            thread = threading.Thread(
                target=lambda: Producer(writing).publish(
                    {"n": 1}, exchange="x", routing_key="a.b"
                )
            )
            thread.start()
            reading.drain_events(timeout=30)
            thread.join(30)
    assert got == [{"n": 1}]


def test_unacked_messages_come_back_when_their_connection_goes(url: str) -> None:
    with Connection(url) as one:
        simple = one.SimpleQueue("q")
        simple.put("hello")
        assert simple.get(timeout=30).payload == "hello"
    with Connection(url) as two:
        message = two.SimpleQueue("q").get(timeout=30)
        assert message.delivery_info["redelivered"]
        message.ack()


def test_connection_that_is_collected_gives_its_messages_back(url: str) -> None:
    with Connection(url) as two:
        other: Any = two.channel()
        other.queue_declare("q", auto_delete=False)
        other.basic_publish(amqp.Message("x"), routing_key="q")
        lost: Any = Connection(url).channel()
        assert lost.basic_get("q").body == "x"
        assert other.basic_get("q") is None
        del lost
        gc.collect()
        assert other.basic_get("q").body == "x"


def test_awaited_without_a_thread(url: str) -> None:
    async def main() -> None:
        connection: Any = Connection(url)
        async with connection, connection.asimple_queue("q") as messages:

            async def later() -> None:
                await asyncio.sleep(0)
                await messages.aput({"n": 1})

            task = asyncio.create_task(later())
            message = await messages.aget(timeout=30)
            assert message.payload == {"n": 1}
            await message.aack()
            await task
            with pytest.raises(queue.Empty):
                await messages.aget(timeout=0.01)

    before = threading.active_count()
    with tripwire():
        asyncio.run(main())
    assert threading.active_count() <= before


def test_burst_keeps_its_order_and_leaves_turns_to_others(url: str) -> None:
    async def main() -> tuple[list[int], int]:
        connection: Any = Connection(url)
        got: list[int] = []
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        def received(body: int, message: Any) -> None:
            got.append(body)
            message.ack()

        async with connection:
            producer = connection.Producer()
            queue = Queue("q", routing_key="q")
            async with connection.Consumer([queue], callbacks=[received]):
                await asyncio.gather(
                    *(producer.apublish(n, routing_key="q") for n in range(300))
                )
                ticker = asyncio.create_task(tick())
                while len(got) < 300:
                    await connection.adrain_events(timeout=30)
                ticker.cancel()
        return got, ticks

    got, ticks = asyncio.run(main())
    assert got == list(range(300))
    assert ticks


def test_publisher_sees_the_errors_of_its_call_at_once(url: str) -> None:
    async def main() -> None:
        connection: Any = Connection(url)
        async with connection:
            producer = connection.Producer()
            with pytest.raises(amqp.NotFound):
                await producer.apublish("x", exchange="missing")
            await producer.apublish("x", routing_key="q", declare=[Queue("q")])

    asyncio.run(main())


def test_wait_that_is_cancelled_takes_nothing(url: str) -> None:
    async def main() -> None:
        connection: Any = Connection(url)
        async with connection, connection.asimple_queue("q") as messages:
            waiting = asyncio.create_task(messages.aget(timeout=30))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await messages.aput("kept")
            message = await messages.aget(timeout=30)
            assert message.payload == "kept"
            await message.aack()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (amqp.NotFound, lambda ch: ch.queue_declare("missing", passive=True)),
        (amqp.NotFound, lambda ch: ch.basic_consume("missing")),
        (amqp.NotFound, lambda ch: ch.basic_publish(amqp.Message("x"), "missing")),
        (amqp.PreconditionFailed, lambda ch: ch.basic_ack(77)),
        (amqp.AccessRefused, lambda ch: ch.exchange_delete("amq.direct")),
    ],
)
def test_refusal_is_py_amqps_and_the_channel_goes_on(
    url: str, error: type[Exception], call: Any
) -> None:
    with Connection(url) as connection:
        channel: Any = connection.channel()
        with pytest.raises(error):
            call(channel)
        assert channel.is_open
        channel.queue_declare("q")
        channel.basic_publish(amqp.Message("x"), routing_key="q")
        assert channel.basic_get("q", no_ack=True).body == "x"


def test_refusal_that_ends_the_connection_ends_it(url: str) -> None:
    with Connection(url) as connection:
        channel: Any = connection.channel()
        with pytest.raises(amqp.AMQPNotImplementedError):
            channel.basic_qos(1, 0, False)
        assert not connection.connected
        assert connection.ensure_connection(max_retries=1)


def test_transactions_are_refused_with_a_remedy(url: str) -> None:
    with Connection(url) as connection:
        channel: Any = connection.channel()
        with pytest.raises(amqp.AMQPNotImplementedError, match="use confirms"):
            channel.tx_select()


def test_confirms_and_returns(url: str) -> None:
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        channel: Any = connection.channel()
        channel.queue_declare(
            "full",
            arguments={"x-max-length": 0, "x-overflow": "reject-publish"},
            auto_delete=False,
        )
        with pytest.raises(amqp.exceptions.MessageNacked):
            channel.basic_publish(amqp.Message("x"), routing_key="full")
        with pytest.raises(amqp.ChannelError, match="NO_ROUTE"):
            channel.basic_publish(amqp.Message("x"), routing_key="no", mandatory=True)
        channel.basic_publish(amqp.Message("x"), routing_key="no")


def test_return_without_confirms_comes_with_the_next_read(url: str) -> None:
    with Connection(url) as connection:
        channel: Any = connection.channel()
        returned: list[Any] = []
        channel.events["basic_return"].add(lambda *args: returned.append(args))
        channel.basic_publish(amqp.Message("x"), routing_key="no", mandatory=True)
        assert not returned
        connection.drain_events(timeout=1)
        exc, exchange, key, message = returned[0]
        assert (exc.reply_code, exchange, key, message.body) == (312, "", "no", "x")


def test_deleted_queue_cancels_its_consumers(url: str) -> None:
    with Connection(url) as connection:
        channel: Any = connection.channel()
        channel.queue_declare("q")
        cancelled: list[str] = []
        channel.basic_consume("q", "tag", on_cancel=cancelled.append)
        other: Any = connection.channel()
        other.queue_delete("q")
        connection.drain_events(timeout=1)
        assert cancelled == ["tag"]


TABLES: list[Any] = [
    {"a": 1, "b": "t", "c": 1.5, "d": None, "e": [1, {"f": True}], "g": {"h": "i"}},
    {"when": datetime.datetime(2026, 1, 2, 3, 4, 5)},
    {"exact": Decimal("1.25"), "bytes": b"raw", "pair": (1, 2)},
    {"k" * 100: "long name"},
]


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_headers_are_what_the_codec_would_make_of_them(table: Any) -> None:
    message: Any = amqp.Message(
        "x", application_headers=table, priority=3, reply_to="r"
    )
    codec: Any = amqp.Message()
    codec._load_properties(codec.CLASS_ID, message._serialize_properties(), 0)
    assert properties_of(message) == codec.properties


@pytest.mark.parametrize(
    "bad", [{"application_headers": {"a": object()}}, {"priority": 300}]
)
def test_what_has_no_form_on_a_wire_is_refused(url: str, bad: Any) -> None:
    with Connection(url) as connection:
        channel: Any = connection.channel()
        channel.queue_declare("q")
        with pytest.raises(
            Exception, match=r"format requires|[Ss]erialize|unsupported|type"
        ):
            channel.basic_publish(amqp.Message("x", **bad), routing_key="q")
        assert channel.queue_declare("q", passive=True).message_count == 0


def test_what_is_received_is_a_copy(url: str) -> None:
    headers = {"deep": {"list": [1]}}
    with Connection(url) as connection:
        channel: Any = connection.channel()
        channel.queue_declare("q")
        channel.basic_publish(
            amqp.Message("x", application_headers=headers), routing_key="q"
        )
        headers["deep"]["list"].append(2)
        got = channel.basic_get("q")
        assert got.headers == {"deep": {"list": [1]}}
        got.headers["deep"]["list"].append(3)
        channel.basic_reject(got.delivery_tag, requeue=True)
        assert channel.basic_get("q").headers == {"deep": {"list": [1]}}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"task": "t", "eta": "2026-01-01T00:00:10+00:00"}, 10.0),
        ({"task": "t", "eta": "2026-01-01T00:00:10Z"}, 10.0),
        ({"task": "t", "eta": "2025-01-01T00:00:00+00:00"}, 0.0),
        ({"task": "t", "eta": "2026-01-01T00:00:10"}, 0.0),
        ({"task": "t", "eta": "soon"}, 0.0),
        ({"task": "t", "eta": None}, 0.0),
        ({"eta": "2026-01-01T00:00:10+00:00"}, 0.0),
        (None, 0.0),
    ],
)
def test_eta(headers: Any, seconds: float) -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
    found = delay_of({"application_headers": headers}, now)
    assert found == pytest.approx(seconds)


def test_url_that_is_wrong_fails_when_it_is_used() -> None:
    with pytest.raises((ValueError, OperationalError), match=r"embedded://NAME"):
        Connection("embedded://a/path").connect()
