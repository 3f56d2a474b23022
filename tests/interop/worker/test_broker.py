"""The connection of a `celery worker -P asyncio` to its broker is lost."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.integration.proxy import at_port
from tests.integration.redis_faults.faulty_proxy import faulty_proxy
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    import pytest

    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed

MANY = 120


def test_what_was_taken_comes_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.record.write_text("")
    options = dict(site.app.conf.broker_transport_options)
    if site.broker.startswith("redis"):
        # What was taken and not acknowledged comes again after so many seconds.
        options |= {"visibility_timeout": 3, "unacked_mutex_expire": 1}
    conf = {"broker_transport_options": options, "broker_connection_retry": True}
    monkeypatch.setitem(site.env, "POOL_CONF", json.dumps(conf))
    late = site.app.tasks["pool.late"]
    with faulty_proxy(site.broker) as proxy:
        monkeypatch.setitem(site.env, "STOCK_BROKER", at_port(site.broker, proxy.port))
        with site.worker("cut", "-c", "5"):
            for number in range(MANY):
                late.delay(number, 0.05)
            for part in (1, 2):
                site.recorded(MANY * part // 4)
                seen = proxy.accepted
                proxy.reset()
                _until_more(proxy, seen)
            assert set(site.recorded(MANY)) == set(range(MANY))
    assert "Connection to broker lost" in site.log("cut")


def _until_more(proxy: object, seen: int) -> None:
    end = time.monotonic() + 60
    while getattr(proxy, "accepted") <= seen:  # noqa: B009
        assert time.monotonic() < end
        time.sleep(0.02)
