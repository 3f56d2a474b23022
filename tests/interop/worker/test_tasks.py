"""Stock clients send; a `celery worker -P asyncio` executes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError, TimeLimitExceeded

from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed

SOON = 60.0


@pytest.fixture
def t(running: Site) -> Any:
    """The tasks by their names."""
    return running.app.tasks


def test_sync_and_async_bodies(t: Any) -> None:
    assert t["stock.add"].delay(1, 2).get(timeout=SOON) == 3
    assert t["pool.aadd"].delay(1, 2).get(timeout=SOON) == 3


def test_errors_retries_and_canvas(t: Any) -> None:
    add, aadd, total = t["stock.add"], t["pool.aadd"], t["stock.total"]
    with pytest.raises(ValueError, match="boo"):
        t["pool.fails"].delay("boo").get(timeout=SOON)
    assert t["stock.retrying"].delay().get(timeout=SOON) == 2
    assert t["pool.flaky"].delay().get(timeout=SOON) == 2
    steps = chain(add.s(1, 2), aadd.s(3), add.s(4))
    assert steps.apply_async().get(timeout=SOON) == 10
    whole = chord(group(aadd.s(n, n) for n in range(5)), total.s())
    assert whole.apply_async().get(timeout=SOON) == 20


def test_interleaved_tasks_see_their_own_request(running: Site, t: Any) -> None:
    # Once the full number; elsewhere the tracer runs in threads, which costs more.
    many = 1000 if running.broker.startswith("redis") else 200
    sent = [t["pool.bound"].delay(number) for number in range(many)]
    children = {}
    for number, result in enumerate(sent):
        seen, retries, child = result.get(timeout=SOON)
        assert seen == [result.id] * 4
        assert retries == (1 if number % 10 == 0 else 0)
        if child:
            children[child] = result.id
    assert len(children) == many // 10
    for child, parent in children.items():
        about = t["stock.whoami"].AsyncResult(child).get(timeout=SOON)
        assert (about["id"], about["parent"]) == (child, parent)
        assert about["root"] == parent


def test_many_at_once(t: Any) -> None:
    sent = [t["pool.nap"].delay(0.5) for _ in range(100)]
    begun = time.monotonic()
    for result in sent:
        assert result.get(timeout=SOON) == 0.5
    # One after the other it would be 50.
    assert time.monotonic() - begun < 25


@pytest.mark.parametrize("name", ["pool.nap", "pool.blocks"])
def test_hard_limit(t: Any, name: str) -> None:
    with pytest.raises(TimeLimitExceeded):
        t[name].apply_async((20,), time_limit=0.3).get(timeout=SOON)


def test_soft_limit(t: Any) -> None:
    sent = t["pool.patient"].apply_async((30,), soft_time_limit=0.3)
    assert sent.get(timeout=SOON) == "soft"


def test_terminate(running: Site, t: Any) -> None:
    sent = t["pool.nap"].delay(30)
    _until(lambda: _active(running, sent.id))
    sent.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        sent.get(timeout=SOON)
    assert not _active(running, sent.id)


def test_terminate_before_its_turn(running: Site, t: Any) -> None:
    before = [t["pool.nap"].delay(60) for _ in range(50)]
    waits = t["pool.nap"].delay(30)
    _until(lambda: _reserved(running, waits.id))
    waits.revoke(terminate=True)
    for result in before:
        result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        waits.get(timeout=SOON)
    _until(lambda: not _reserved(running, waits.id))


def _active(site: Site, task_id: str) -> bool:
    return _listed(site.app.control.inspect(timeout=10, limit=1).active(), task_id)


def _reserved(site: Site, task_id: str) -> bool:
    return _listed(site.app.control.inspect(timeout=10, limit=1).reserved(), task_id)


def _listed(reply: Any, task_id: str) -> bool:
    return any(task["id"] == task_id for task in (reply or {}).popitem()[1])


def _until(condition: Any) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
