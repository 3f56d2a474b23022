"""Remote control and events of a `celery worker -P asyncio`."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.interop.worker.pool_app import LIFE
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed

SOON = 60.0


def ask(site: Site, node: str, question: str, *args: Any) -> Any:
    """What a worker answers to `celery inspect`."""
    inspect = site.app.control.inspect([site.name(node)], timeout=20, limit=1)
    return getattr(inspect, question)(*args)[site.name(node)]


def order(site: Site, node: str, command: str, **arguments: Any) -> Any:
    """What a worker answers to `celery control`."""
    (reply,) = site.app.control.broadcast(
        command,
        arguments=arguments,
        destination=[site.name(node)],
        reply=True,
        timeout=20,
        limit=1,
    )
    return reply[site.name(node)]


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def ids(found: Any) -> set[str]:
    return {task["id"] for task in found}


def test_inspect(running: Site) -> None:
    t = running.app.tasks
    long = [t["pool.nap"].delay(600) for _ in range(52)]
    until(lambda: len(ask(running, "main", "active")) == 50)
    until(lambda: len(ask(running, "main", "reserved")) == 2)
    active = ask(running, "main", "active")
    reserved = ask(running, "main", "reserved")
    assert ids(active) | ids(reserved) == {sent.id for sent in long}
    assert {task["name"] for task in active} == {"pool.nap"}
    later = t["pool.nap"].apply_async((0,), countdown=600)
    until(lambda: len(ask(running, "main", "scheduled")) == 1)
    pool = ask(running, "main", "stats")["pool"]
    assert pool["implementation"] == "celery_async_bridge.worker.pool:TaskPool"
    assert (pool["max-concurrency"], pool["running"], pool["waiting"]) == (50, 50, 2)
    assert "pool.nap" in ask(running, "main", "registered")
    for sent in (*long, later):
        sent.revoke(terminate=True)
    until(lambda: not ask(running, "main", "active"))
    assert later.id in ask(running, "main", "revoked")


def test_limits_and_size(running: Site) -> None:
    def limit() -> Any:
        return ask(running, "main", "stats")["pool"]["max-concurrency"]

    name = {"task_name": "pool.nap"}
    assert "ok" in order(running, "main", "rate_limit", rate_limit="1/m", **name)
    assert "ok" in order(running, "main", "rate_limit", rate_limit="0", **name)
    assert "ok" in order(running, "main", "time_limit", hard=0.2, soft=0.1, **name)
    assert "ok" in order(running, "main", "time_limit", hard=None, soft=None, **name)
    assert "ok" in order(running, "main", "pool_grow", n=3)
    assert limit() == 53
    assert "ok" in order(running, "main", "pool_shrink", n=3)
    assert limit() == 50


def test_queues(running: Site) -> None:
    queue = f"{running.prefix}.other"
    assert "ok" in order(running, "main", "add_consumer", queue=queue)
    sent = running.app.tasks["pool.aadd"].apply_async((1, 2), queue=queue)
    assert sent.get(timeout=SOON) == 3
    assert "ok" in order(running, "main", "cancel_consumer", queue=queue)
    until(lambda: len(ask(running, "main", "active_queues")) == 1)


def test_events(running: Site) -> None:
    counts: Counter[str] = Counter()
    done = threading.Event()

    def note(event: Any) -> None:
        counts[event["type"]] += 1
        if counts["task-succeeded"] == 100 and counts["task-failed"] == 10:
            done.set()

    with running.app.connection_for_read() as given:
        receiver = running.app.events.Receiver(given, handlers={"*": note})
        with receiver.consumer_context() as (connection, _, _):
            # Only then is the subscription known to be there.
            while not counts["worker-heartbeat"]:
                connection.drain_events(timeout=SOON)
            for number in range(100):
                running.app.tasks["pool.aadd"].delay(number, 1)
            for _ in range(10):
                running.app.tasks["pool.fails"].delay("boo")
            while not done.is_set():
                connection.drain_events(timeout=SOON)
    tasks = {kind: n for kind, n in counts.items() if kind.startswith("task-")}
    # As `-P threads` sends them.
    assert tasks == {
        "task-received": 110,
        "task-started": 110,
        "task-succeeded": 100,
        "task-failed": 10,
    }


def test_shutdown(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = tmp_path / "life"
    monkeypatch.setitem(site.env, "POOL_LIFE", str(life))
    with site.worker("ended", "-c", "2") as process:
        site.app.control.shutdown(destination=[site.name("ended")])
        assert process.wait(SOON) == 0
    # Async receivers, all of them on the loop of the tasks.
    assert life.read_text().split("\n")[:-1] == [
        f"{name} celery-async-loop" for name in LIFE
    ]
