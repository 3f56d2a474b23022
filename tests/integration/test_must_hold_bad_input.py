"""Bad input has the sync twin's outcome, sends nothing, and shows no password."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import kombu
import pytest

import celery_async_bridge
from tests.integration.apps import an_app
from tests.integration.proxy import at_port, closed_port
from tests.sweep import ignore_unclosed

pytestmark = ignore_unclosed

Connection: Any = kombu.Connection

SECRET = "s3cr3t-pa55"
URLS = {"redis": "redis_url", "amqp": "amqp_url"}
POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0}

#: Name -> the options of a send.
SENDS: Mapping[str, Mapping[str, Any]] = {
    "unserialisable": {"args": (object(), 1)},
    "unserialisable_header": {"args": (1, 2), "headers": {"x": object()}},
    "unknown_serializer": {"args": (1, 2), "serializer": "nope"},
    "unknown_compression": {"args": (1, 2), "compression": "nope"},
    "wrong_arguments": {"args": (1, 2, 3)},
    "unknown_exchange": {"args": (1, 2), "exchange": "never.declared"},
    "bad_countdown": {"args": (1, 2), "countdown": "soon"},
    "bad_expires": {"args": (1, 2), "expires": "never"},
    "bad_priority": {"args": (1, 2), "priority": "high"},
    "bad_queue": {"args": (1, 2), "queue": 7},
}


def _outcome(fn: Callable[[], Any]) -> type | None:
    try:
        fn()
    except Exception as exc:
        return type(exc)
    return None


@pytest.mark.parametrize("name", SENDS)
@pytest.mark.parametrize("broker", ["redis", "amqp", "memory"])
def test_send(
    request: pytest.FixtureRequest, unique: str, broker: str, name: str
) -> None:
    url = request.getfixturevalue(URLS[broker]) if broker in URLS else "memory://"
    options = dict(SENDS[name])
    with an_app(url, "", unique, task_publish_retry_policy=POLICY) as app:
        expected = _outcome(lambda: app.add.apply_async(**options))
        sent = app.control.purge()
        found = _outcome(lambda: asyncio.run(app.add.aapply_async(**options)))
        assert found is expected
        assert app.control.purge() == sent
        assert sent == 0 or expected is None


@pytest.mark.parametrize("broker", ["redis", "amqp", "memory"])
def test_publish_to_unknown_exchange(
    request: pytest.FixtureRequest, unique: str, broker: str
) -> None:
    url = request.getfixturevalue(URLS[broker]) if broker in URLS else "memory://"
    options = {"exchange": f"{unique}.nowhere", "routing_key": "k"}

    def with_confirms() -> Any:
        return Connection(url, transport_options={"confirm_publish": True})

    def send() -> None:
        with with_confirms() as connection:
            connection.Producer().publish("x", **options)

    async def asend() -> None:
        async with with_confirms() as connection:
            await connection.Producer().apublish("x", **options)

    expected = _outcome(send)
    assert _outcome(lambda: asyncio.run(asend())) is expected


@pytest.mark.parametrize("broker", ["redis", "amqp", "memory"])
def test_fifty_megabytes(
    request: pytest.FixtureRequest, unique: str, broker: str
) -> None:
    url = request.getfixturevalue(URLS[broker]) if broker in URLS else "memory://"
    body = b"x" * 50_000_000
    with Connection(url) as connection:
        queue = connection.SimpleQueue(f"{unique}.large")
        try:
            expected = _outcome(lambda: queue.put(body))
            queue.clear()

            async def send() -> None:
                async with Connection(url) as other:
                    await other.Producer().apublish(
                        body,
                        exchange=queue.queue.exchange,
                        routing_key=queue.queue.routing_key,
                    )

            assert _outcome(lambda: asyncio.run(send())) is expected
            if expected is None:
                message = queue.get(timeout=20)
                assert len(message.body) == len(body)
                message.ack()
        finally:
            queue.close()
            queue.queue.delete()


def _wrong_password(request: pytest.FixtureRequest, broker: str) -> str:
    url = request.getfixturevalue(URLS[broker])
    scheme, _, rest = url.partition("://")
    place = rest.rpartition("@")[2]
    user = "guest" if broker == "amqp" else "nobody"
    return f"{scheme}://{user}:{SECRET}@{place}"


def _closed(request: pytest.FixtureRequest, broker: str) -> str:
    url = _wrong_password(request, broker)
    return at_port(url, closed_port())


#: Name -> the URL of a broker or backend that cannot be used.
PLACES: Mapping[str, Callable[[pytest.FixtureRequest, str], str]] = {
    "wrong_password": _wrong_password,
    "refused": _closed,
    "unknown_host": lambda request, broker: f"{broker}://u:{SECRET}@nowhere.invalid//",
    "unknown_scheme": lambda request, broker: f"x-{broker}://u:{SECRET}@localhost//",
    "two_urls": lambda request, broker: ";".join(
        [_closed(request, broker), _closed(request, broker)]
    ),
}


def _everything_said(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    said = [str(error), repr(error), "".join(traceback.format_exception(error))]
    said += [record.getMessage() for record in caplog.records]
    said += [repr(record.args) for record in caplog.records]
    said.append(caplog.text)
    return "\n".join(said)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("broker", URLS)
def test_unusable_broker(
    request: pytest.FixtureRequest,
    unique: str,
    broker: str,
    place: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = PLACES[place](request, broker)
    caplog.set_level(logging.DEBUG)

    def outcome(fn: Callable[[Any], Any]) -> BaseException:
        with an_app(url, "", unique, task_publish_retry_policy=POLICY) as app:
            with pytest.raises(Exception, match=r".") as caught:
                fn(app)
            return caught.value

    expected = outcome(lambda app: app.add.delay(1, 2))
    caplog.clear()
    found = outcome(lambda app: asyncio.run(app.add.adelay(1, 2)))
    assert type(found) is type(expected)
    assert SECRET not in _everything_said(found, caplog)


@pytest.mark.parametrize("place", ["wrong_password", "refused", "unknown_host"])
def test_unusable_result_backend(
    request: pytest.FixtureRequest,
    unique: str,
    place: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = PLACES[place](request, "redis").replace("//", "//", 1)
    caplog.set_level(logging.DEBUG)

    def outcome(fn: Callable[[Any], Any]) -> BaseException:
        with an_app("memory://", url, unique) as app:
            app.conf.result_backend_transport_options = {
                "retry_policy": {"max_retries": 0, "interval_start": 0}
            }
            with pytest.raises(Exception, match=r".") as caught:
                fn(app.AsyncResult("x"))
            return caught.value

    expected = outcome(lambda result: result.state)
    caplog.clear()
    found = outcome(lambda result: asyncio.run(result.astate()))
    assert type(found) is type(expected)
    assert SECRET not in _everything_said(found, caplog)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("broker", URLS)
def test_timeout_and_explain_mask_the_password(
    request: pytest.FixtureRequest, unique: str, broker: str, place: str
) -> None:
    url = PLACES[place](request, broker)
    backend = url if broker == "redis" and place != "unknown_scheme" else ""
    with an_app(url, backend, unique) as app:
        table = celery_async_bridge.explain(app)
        assert SECRET not in str(table)
        assert SECRET not in repr(table)
        with suppress(AttributeError):
            assert SECRET not in str(table.to_dict())


async def test_deadline_error_masks_the_password(
    redis_url: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.integration.proxy import proxied

    caplog.set_level(logging.DEBUG)
    with proxied(redis_url, silent=True) as hole:
        url = f"redis://u:{SECRET}@127.0.0.1:{hole.port}/1"
        with an_app(url, "", unique) as app:
            with pytest.raises(Exception, match="no answer") as caught:
                await app.add.aapply_async((1, 2), publish_timeout=1)
            assert SECRET not in _everything_said(caught.value, caplog)
            assert f"127.0.0.1:{hole.port}" in str(caught.value)
