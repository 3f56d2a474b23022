from __future__ import annotations

import gc
import os
import threading
import time
import weakref

import pytest

from celery_async_bridge.core import lane as lane_module
from celery_async_bridge.core.lane import Job, Lane, lane_for, lanes
from tests.unit.core.help import run


def busy(lane: Lane) -> tuple[Job, threading.Event]:
    """A job that runs until the event is set."""
    started, end = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert end.wait(60)

    job = lane.add(work)
    assert started.wait(30)
    return job, end


def settled(lane: Lane) -> None:
    for _ in range(2000):
        if not lane.status()["running"]:
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def test_a_job_settles_its_futures() -> None:
    lane = Lane("test", 2)
    assert lane.submit(lambda a, b: a - b, 3, b=1).result(30) == 2
    job = lane.add(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        job.future.result(30)
    assert job.finished.result(30) is None


def test_threads_are_daemons_and_no_more_than_the_limit() -> None:
    lane = Lane("test", 2)
    seen: set[threading.Thread] = set()
    meeting = threading.Barrier(2)

    def work() -> None:
        seen.add(threading.current_thread())
        meeting.wait(30)  # two at a time, always

    for job in [lane.add(work) for _ in range(20)]:
        job.future.result(30)
    assert len(seen) == 2 == lane.status()["threads"]
    assert all(one.daemon and one.name.startswith("celery-async-") for one in seen)


def test_an_idle_thread_is_used_again() -> None:
    lane = Lane("test", 8)
    for _ in range(10):
        lane.add(threading.get_ident).future.result(30)
    assert lane.status()["threads"] == 1


def test_jobs_start_in_order() -> None:
    lane = Lane("test", 1)
    _, end = busy(lane)
    order: list[int] = []
    jobs = [lane.add(lambda n=n: order.append(n)) for n in range(20)]  # type: ignore[misc]
    end.set()
    for job in jobs:
        job.future.result(30)
    assert order == list(range(20))


def test_a_job_abandoned_before_its_start_never_runs() -> None:
    lane = Lane("test", 1)
    _, end = busy(lane)
    ran: list[int] = []
    job = lane.add(lambda: ran.append(1))
    job.abandon()
    assert job.finished.done()
    assert job.future.cancelled()
    assert lane.status()["queued"] == 0
    assert lane.stuck == 0
    end.set()
    lane.add(lambda: None).future.result(30)
    assert ran == []


def test_a_job_abandoned_after_its_start_is_stuck_until_it_ends() -> None:
    lane = Lane("test", 2)
    job, end = busy(lane)
    told: list[bool] = []

    def error(started: bool) -> BaseException:
        told.append(started)
        return KeyError("late")

    job.abandon(error)
    with pytest.raises(KeyError):
        job.future.result(30)
    assert told == [True]
    assert not job.finished.done()
    assert lane.status() == {
        "threads": 1,
        "limit": 2,
        "running": 1,
        "queued": 0,
        "stuck": 1,
    }
    end.set()
    assert job.finished.result(30) is None
    settled(lane)
    assert lane.stuck == 0


def test_abandoning_what_is_done_or_abandoned_changes_nothing() -> None:
    lane = Lane("test", 1)
    job = lane.add(lambda: 7)
    assert job.future.result(30) == 7
    settled(lane)
    job.abandon(lambda started: KeyError())
    job.abandon()
    assert job.future.result() == 7
    _, end = busy(lane)
    job = lane.add(lambda: 7)
    job.abandon(lambda started: KeyError(started))
    job.abandon()
    with pytest.raises(KeyError, match="False"):
        job.future.result(30)
    end.set()


def test_abandoning_at_any_moment_leaves_the_lane_working() -> None:
    """A thousand races between a start and its cancellation."""
    lane = Lane("test", 4)
    ran: list[int] = []
    for number in range(1000):
        job = lane.add(lambda n=number: ran.append(n))  # type: ignore[misc]
        if number % 2:
            job.abandon(lambda started: KeyError(started))
            try:
                error = job.future.exception(30)
            except Exception as exc:  # pragma: no cover
                pytest.fail(repr(exc))
            if isinstance(error, KeyError) and error.args == (False,):
                job.finished.result(30)
                assert number not in ran
        else:
            job.abandon()
        job.finished.result(30)
    settled(lane)
    assert lane.stuck == 0
    assert lane.add(lambda: 3).future.result(30) == 3


def test_an_outcome_does_not_keep_what_the_call_held() -> None:
    class Held:
        pass

    lane = Lane("test", 1)

    def work(held: Held) -> None:
        raise KeyError

    held = Held()
    gone = weakref.ref(held)
    future = lane.submit(work, held)
    del held
    gc.disable()
    try:
        assert isinstance(future.exception(30), KeyError)
        del future
        settled(lane)
        lane.add(lambda: None).future.result(30)
        assert gone() is None
    finally:
        gc.enable()


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "IDLE", 0.02)
    lane = Lane("test", 4)
    for job in [lane.add(lambda: time.sleep(0.01)) for _ in range(8)]:
        job.future.result(30)
    for _ in range(2000):
        if not lane.status()["threads"]:
            break
        time.sleep(0.01)
    assert lane.status()["threads"] == 0
    assert lane.add(lambda: 1).future.result(30) == 1


def test_a_kept_thread_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "IDLE", 0.02)
    lane = Lane("test", 1, keep=True)
    first = lane.add(threading.get_ident).future.result(30)
    time.sleep(0.1)
    assert lane.status()["threads"] == 1
    assert lane.add(threading.get_ident).future.result(30) == first


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane("test", 2)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new thread"):
            lane.add(lambda: 1)
    assert lane.status()["threads"] == lane.status()["queued"] == 0
    assert lane.add(lambda: 1).future.result(30) == 1
    _, end = busy(lane)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        job = lane.add(lambda: 2)  # one thread is enough, later
    end.set()
    assert job.future.result(30) == 2


def test_lanes_are_found_by_their_key() -> None:
    key = ("call", object())
    lane = lane_for(key, "call-x", 4)
    assert lane_for(key, "call-x", 6) is lane
    assert lane.limit == 6
    assert lanes()[key] is lane


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_lanes_of_its_own() -> None:
    done = run(
        """
import os, threading
from celery_async_bridge.core.lane import lane_for, lanes
lane = lane_for("key", "x", 1)
end, started = threading.Event(), threading.Event()
lane.add(lambda: (started.set(), end.wait(60)))
started.wait()
pid = os.fork()
if not pid:
    assert not lanes()
    os._exit(lane_for("key", "x", 1).add(lambda: 42).future.result(30))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
assert lane_for("key", "x", 1) is lane
end.set()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
