"""A `celery worker -P asyncio --autoscale` grows with its work and shrinks after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.interop.worker.test_control import ask, ids, order, until
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    import pytest

    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed


def test_autoscale(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def size() -> Any:
        return ask(here, "scaled", "stats")["pool"]["max-concurrency"]

    def active() -> Any:
        return ids(ask(here, "scaled", "active"))

    # Seconds of rest before it shrinks, and from one look to the next: it may take two
    # of them, by default a minute. Upstream reads it from the environment only.
    monkeypatch.setitem(here.env, "AUTOSCALE_KEEPALIVE", "1")
    nap = here.app.tasks["pool.nap"]
    with here.worker("scaled", "--autoscale", "6,2"):
        assert size() == 2
        sent = [nap.delay(600) for _ in range(8)]
        until(lambda: len(active()) == 6)
        assert size() == 6
        assert "ok" in order(here, "scaled", "autoscale", max=7, min=1)
        # It looks again when a message comes or its timer rings.
        until(lambda: len(active()) == 7)
        assert "ok" in order(here, "scaled", "autoscale", max=3)
        assert size() == 3
        # What runs is not ended by it.
        assert len(active()) == 7
        for result in sent:
            result.revoke(terminate=True)
        until(lambda: not active())
        until(lambda: size() == 1)
        assert here.app.tasks["pool.aadd"].delay(1, 2).get(timeout=60) == 3
