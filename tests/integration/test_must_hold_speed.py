"""Sends in threads are not serialised, and nothing is held up by a dead broker."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

from tests.integration.apps import an_app, bridge_threads
from tests.integration.measure import fifty_sends
from tests.integration.own_time import own_time
from tests.integration.proxy import closed_port, proxied
from tests.sweep import ignore_unclosed

pytestmark = ignore_unclosed

URLS = {"redis": "redis_url", "amqp": "amqp_url"}
#: Seconds to and from a broker, so long that a busy machine does not matter.
DELAY = 0.05


@pytest.mark.parametrize("limit", [10, 50])
@pytest.mark.parametrize("broker", URLS)
def test_fifty_sends_on_a_slow_broker_are_not_serialised(
    request: pytest.FixtureRequest, unique: str, broker: str, limit: int
) -> None:
    url = request.getfixturevalue(URLS[broker])
    # Without confirms an AMQP send waits for nobody.
    conf = {
        "broker_pool_limit": limit,
        "broker_transport_options": {"confirm_publish": True},
    }
    with (
        proxied(url, delay=DELAY) as proxy,
        an_app(proxy.url, "", unique, **conf) as app,
    ):
        found = asyncio.run(fifty_sends(app))
    # In a row they would take 50 of them. The figures are a benchmark's business:
    # tests/benchmarks/thread_tier.py
    assert found.ratio < 25, found
    # One stall of the machine is no blocked loop: that would be late by whole answers.
    assert found.gap_p95 < 2 * DELAY, found


@pytest.mark.parametrize("broker", URLS)
async def test_black_hole(
    request: pytest.FixtureRequest, unique: str, broker: str
) -> None:
    url = request.getfixturevalue(URLS[broker])
    with (
        proxied(url, silent=True) as hole,
        an_app(hole.url, "", unique) as dead,
        an_app(url, "", f"{unique}x") as alive,
    ):
        await alive.add.adelay(1, 1)
        began, own = time.monotonic(), own_time()
        send = asyncio.ensure_future(dead.add.aapply_async((1, 2), publish_timeout=2))
        await asyncio.sleep(0.1)
        await alive.add.adelay(1, 2)
        assert not send.done()
        with pytest.raises(OperationalError) as caught:
            await send
        assert time.monotonic() - began > 1.99
        # Kombu gives an AMQP server five seconds, four times over.
        assert own_time() - own < 4.9
        assert caught.value.seconds == 2  # type: ignore[attr-defined]
        # On the loop it is known that nothing was written; a thread does not tell.
        uncertain = caught.value.uncertain  # type: ignore[attr-defined]
        assert uncertain is (broker == "amqp")


@pytest.mark.parametrize("broker", URLS)
async def test_black_hole_takes_no_more_threads_than_its_share(
    request: pytest.FixtureRequest, unique: str, broker: str
) -> None:
    url = request.getfixturevalue(URLS[broker])
    with (
        proxied(url, silent=True) as hole,
        an_app(hole.url, "", unique, async_threads=4) as dead,
        an_app(url, "", f"{unique}x") as alive,
    ):
        before = set(bridge_threads())
        sends = [dead.add.aapply_async((n, 2), publish_timeout=0.5) for n in range(20)]
        found = await asyncio.gather(*sends, return_exceptions=True)
        assert all(isinstance(error, OperationalError) for error in found)
        assert len(set(bridge_threads()) - before) <= 4
        began = own_time()
        await alive.add.adelay(1, 2)
        # Those that are stuck with an AMQP server give it five seconds.
        assert own_time() - began < 4


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
async def test_refused(unique: str, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{closed_port()}//"
    policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    with an_app(url, "", unique, task_publish_retry_policy=policy) as app:
        errors = []
        try:
            await asyncio.to_thread(app.add.delay, 1, 2)
        except Exception as exc:
            errors.append(exc)
        try:
            await app.add.adelay(1, 2)
        except Exception as exc:
            errors.append(exc)
        assert [type(error) for error in errors] == [OperationalError] * 2


async def test_bare_connection_to_a_black_hole(redis_url: str) -> None:
    with proxied(redis_url, silent=True) as hole:
        connection: Any = Connection(
            hole.url, transport_options={"socket_timeout": 0.3, "max_retries": 0}
        )
        began = time.monotonic()
        with pytest.raises(Exception, match=r"."):
            await connection.Producer().apublish("x", routing_key="q")
        assert time.monotonic() - began < 60  # and not for ever
        connection.release()
