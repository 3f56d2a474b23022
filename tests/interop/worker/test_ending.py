"""A `celery worker -P asyncio` is ended, and nothing is lost."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

from tests.interop.worker.conftest import SOON_BACK
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    import pytest

    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed

SOON = 60.0
OPTIONS = ("-c", "20")


def begin(site: Site, name: str, many: int, seconds: float) -> None:
    site.record.write_text("")
    for number in range(many):
        site.app.tasks[name].delay(number, seconds)


def end(process: Any, number: int) -> float:
    begun = time.monotonic()
    process.send_signal(number)
    process.wait(SOON)
    return time.monotonic() - begun


def test_warm_shutdown_loses_nothing_and_repeats_nothing(site: Site) -> None:
    begin(site, "pool.early", 200, 0.5)
    # Few at once: there is work left whenever the signal comes.
    with site.worker("first", "-c", "8") as process:
        site.recorded(40)
        end(process, signal.SIGTERM)
        assert process.returncode == 0
    assert 40 <= len(site.recorded()) < 200
    with site.worker("second", *OPTIONS):
        found = site.recorded(200)
    assert set(found.values()) == {1}


def test_cold_shutdown_gives_back_what_was_not_acknowledged(site: Site) -> None:
    begin(site, "pool.late", 60, 30)
    with site.worker("cold", *OPTIONS) as process:
        _until_active(site, 20)
        assert end(process, signal.SIGQUIT) < 20
    assert not site.recorded()
    assert _waiting(site) == 60
    site.app.control.purge()


def test_soft_shutdown_lets_tasks_finish_but_begins_none(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeout = {"worker_soft_shutdown_timeout": 5}
    monkeypatch.setitem(site.env, "POOL_CONF", json.dumps(timeout))
    begin(site, "pool.late", 60, 3)
    with site.worker("soft", *OPTIONS) as process:
        _until_active(site, 20)
        end(process, signal.SIGQUIT)
    done = len(site.recorded())
    assert 20 <= done < 60
    assert _waiting(site) == 60 - done
    site.app.control.purge()


def test_killed_workers_lose_nothing_that_is_acknowledged_late(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = 3
    if site.broker.startswith("redis"):
        options = {**site.app.conf.broker_transport_options, **SOON_BACK}
        conf = json.dumps({"broker_transport_options": options})
        monkeypatch.setitem(site.env, "POOL_CONF", conf)
    begin(site, "pool.late", 200, 0.02)
    for number in range(kills):
        with site.worker(f"killed-{number}", *OPTIONS) as process:
            site.recorded(40 * (number + 1))
            end(process, signal.SIGKILL)
    with site.worker("last", *OPTIONS):
        assert len(site.recorded(200)) == 200


def _until_active(site: Site, many: int) -> None:
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        reply: Any = site.app.control.inspect(timeout=10, limit=1).active() or {"": []}
        if len(reply.popitem()[1]) == many:
            return
    raise AssertionError("they do not start")


def _waiting(site: Site) -> int:
    with site.app.connection_for_read() as connection:
        name, channel = site.app.conf.task_default_queue, connection.default_channel
        if site.broker.startswith("redis"):
            # Kombu's passive declaration does not see queues below a key prefix.
            return int(channel._size(name))
        return int(channel.queue_declare(name, passive=True).message_count)
