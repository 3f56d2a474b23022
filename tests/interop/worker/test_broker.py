"""The connection of a `celery worker -P asyncio` to its broker is lost."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.integration.proxy import at_port
from tests.integration.redis_faults.faulty_proxy import faulty_proxy
from tests.interop.worker.conftest import SOON_BACK
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    import pytest

    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed

MANY, CUTS = 120, 2


def test_what_was_taken_comes_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.record.write_text("")
    enough, options = MANY, dict(site.app.conf.broker_transport_options)
    if site.broker.startswith("redis"):
        options |= SOON_BACK
        # Kombu takes a message before it notes that it has it: one for each cut may
        # have been on its way.
        enough -= CUTS
    conf = {"broker_transport_options": options, "broker_connection_retry": True}
    monkeypatch.setitem(site.env, "POOL_CONF", json.dumps(conf))
    late = site.app.tasks["pool.late"]
    with faulty_proxy(site.broker) as proxy:
        monkeypatch.setitem(site.env, "STOCK_BROKER", at_port(site.broker, proxy.port))
        with site.worker("cut", "-c", "5"):
            for number in range(MANY):
                late.delay(number, 0.05)
            for cut in range(CUTS):
                site.recorded(MANY * (cut + 1) // 4)
                seen = proxy.accepted
                proxy.reset()
                _until_more(proxy, seen)
            assert len(site.recorded(enough)) >= enough
    assert "Connection to broker lost" in site.log("cut")


def _until_more(proxy: object, seen: int) -> None:
    end = time.monotonic() + 60
    while getattr(proxy, "accepted") <= seen:  # noqa: B009
        assert time.monotonic() < end
        time.sleep(0.02)
