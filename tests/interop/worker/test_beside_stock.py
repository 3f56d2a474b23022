"""A `celery worker -P asyncio` on Redis beside workers that have no bridge."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.interop.worker.conftest import SOON_BACK
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed


@pytest.fixture
def apart(here: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Messages of the dead come back soon."""
    options = {**here.app.conf.broker_transport_options, **SOON_BACK}
    conf = json.dumps({"broker_transport_options": options})
    monkeypatch.setitem(here.env, "POOL_CONF", conf)
    here.record.write_text("")
    return here


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_stock_worker_finishes_what_a_killed_one_held(
    apart: Site, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    for number in range(150):
        apart.app.tasks["sync.late"].delay(number, 0.02)
    with apart.worker("ours", "-c", "20") as process, monkeypatch.context() as off:
        off.setitem(apart.env, "CELERY_ASYNC_BRIDGE", "0")
        with apart.worker("stock", "-c", "2", pool=pool):
            apart.recorded(20)
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            assert len(apart.recorded(150)) == 150
