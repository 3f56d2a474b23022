"""What others see of a `celery worker -P asyncio`: the same as of `-P threads`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.integration.proxy import closed_port
from tests.interop.processes import ROOT
from tests.interop.worker.test_control import ask, until
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.worker.conftest import Site

pytestmark = ignore_unclosed

SOON = 60.0
MANY = 100
OPTIONS = ("-c", "10", "-E")
#: Pool -> a task that adds, one that fails, one that is retried twice.
SYNC = ("stock.add", "stock.fail", "stock.retrying")
ASYNC = ("pool.aadd", "pool.fails", "pool.flaky")


def seen(site: Site, names: tuple[str, str, str]) -> Counter[str]:
    """Send tasks; count the events of each type that came of them."""
    add, fail, retried = (site.app.tasks[name] for name in names)
    counts: Counter[str] = Counter()
    ended: set[str] = set()

    def note(event: Any) -> None:
        counts[event["type"]] += 1
        if event["type"] in ("task-succeeded", "task-failed", "task-revoked"):
            ended.add(event["uuid"])

    with site.app.connection_for_read() as given:
        receiver = site.app.events.Receiver(given, handlers={"*": note})
        with receiver.consumer_context() as (connection, _, _):
            # Only then is the subscription known to be there.
            while not counts["worker-heartbeat"]:
                connection.drain_events(timeout=SOON)
            sent = {add.delay(number, 1).id for number in range(MANY)}
            sent |= {fail.delay("boo").id for _ in range(10)}
            sent |= {retried.delay().id for _ in range(5)}
            sent |= {add.apply_async((1, 1), expires=-1).id for _ in range(3)}
            while not sent <= ended:
                connection.drain_events(timeout=SOON)
    return Counter({k: n for k, n in counts.items() if k.startswith("task-")})


def test_events_and_answers(here: Site) -> None:
    events, stats, answers = [], [], []
    for node, pool, kinds in (
        ("threads", "threads", (SYNC,)),
        ("asyncio", "asyncio", (SYNC, ASYNC)),
    ):
        with here.worker(node, *OPTIONS, pool=pool):
            events += [seen(here, names) for names in kinds]
            told = ask(here, node, "stats")
            total = Counter(told["total"])
            stats.append((set(told), total["stock.add"], total["stock.fail"]))
            answers.append(
                [
                    ask(here, node, question)
                    for question in (
                        "active",
                        "reserved",
                        "scheduled",
                        "registered",
                        "active_queues",
                    )
                ]
            )
            assert len(ask(here, node, "revoked")) == 3 * len(kinds)
    assert events[0]["task-succeeded"] == MANY + 5
    assert events[0]["task-retried"] == 10
    assert events == [events[0]] * 3
    assert stats[0] == stats[1]
    assert answers[0] == answers[1]


@contextmanager
def flower(site: Site, log: Path) -> Iterator[str]:
    """Run Flower until the block ends; its URL."""
    port = closed_port()
    command = [sys.executable, "-m", "celery", "-A", "tests.interop.worker.pool_app"]
    command += ["flower", f"--port={port}", "--address=127.0.0.1"]
    env = {**site.env, "FLOWER_UNAUTHENTICATED_API": "true"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)


def got(url: str) -> Any:
    """What a page says; None if it does not answer."""
    try:
        with urlopen(url, timeout=20) as answer:
            return json.load(answer)
    except (URLError, OSError):
        return None


@pytest.mark.skipif(find_spec("flower") is None, reason="flower is not installed")
def test_flower_reads_it(here: Site, tmp_path: Path) -> None:
    name = here.name("watched")
    with here.worker("watched", *OPTIONS), flower(here, tmp_path / "log") as url:
        until(lambda: name in (got(f"{url}/api/workers") or {}))
        sent = {here.app.tasks["pool.aadd"].delay(n, 1).id for n in range(20)}
        sent.add(here.app.tasks["pool.fails"].delay("boo").id)

        def states() -> Counter[str]:
            told = got(f"{url}/api/tasks?workername={name}") or {}
            return Counter(told[one]["state"] for one in sent if one in told)

        until(lambda: states() == {"SUCCESS": 20, "FAILURE": 1})
        worker = got(f"{url}/api/workers?refresh=1&workername={name}")[name]
    assert worker["stats"]["pool"]["max-concurrency"] == 10
    assert "pool.aadd" in worker["registered"]
