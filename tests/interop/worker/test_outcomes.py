"""Tasks that end otherwise than with a value or an error, in a real worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group

from tests.interop.worker.test_control import ask, until
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed

SOON = 60.0


@pytest.fixture
def t(running: Site) -> Any:
    """The tasks by their names."""
    return running.app.tasks


def at_rest(site: Site) -> None:
    """Return when the worker has nothing left: neither taken nor to be taken."""
    # What is sent now comes behind what was sent, or given back, before.
    for _ in range(2):
        assert site.app.tasks["pool.aadd"].delay(1, 1).get(timeout=SOON) == 2
        until(
            lambda: not (ask(site, "main", "active") or ask(site, "main", "reserved"))
        )


def test_a_rejected_message_is_gone(running: Site, t: Any) -> None:
    running.record.write_text("")
    sent = [t["pool.rejects"].delay(number, False) for number in range(5)]
    sync = t["sync.rejects"].delay(5)
    at_rest(running)
    assert running.recorded(6) == dict.fromkeys(range(6), 1)
    # Releases of Celery differ; a sync body is the measure.
    until(lambda: {result.state for result in sent} == {sync.state})


def test_a_message_that_is_given_back_comes_again(running: Site, t: Any) -> None:
    running.record.write_text("")
    for number in range(5):
        t["pool.rejects"].delay(number, True)
    until(lambda: running.recorded() == dict.fromkeys(range(5), 2))
    at_rest(running)
    assert running.recorded() == dict.fromkeys(range(5), 2)


def test_an_ignored_task_keeps_the_state_that_it_has_set(running: Site, t: Any) -> None:
    sent = t["pool.ignores"].delay()
    end = time.monotonic() + SOON
    while sent.state != "HALFWAY":
        assert time.monotonic() < end
    at_rest(running)
    assert (sent.state, sent.info) == ("HALFWAY", {"done": 1})


@pytest.mark.parametrize("awaited", [True, False], ids=["areplace", "replace"])
def test_a_task_that_is_replaced(t: Any, awaited: bool) -> None:
    replaces, add = t["pool.replaces"], t["stock.add"]
    assert replaces.delay(1, awaited).get(timeout=SOON) == 2
    steps = chain(replaces.s(1, awaited), add.s(5))
    assert steps.apply_async().get(timeout=SOON) == 7
    whole = chord(
        group(replaces.s(number, awaited) for number in range(3)), t["stock.total"].s()
    )
    assert whole.apply_async().get(timeout=SOON) == 6
