"""The examples of the asyncio worker do what they say, on Redis and on RabbitMQ."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from celery.signals import task_success

import celery_async_bridge
from celery_async_bridge.install import journal
from tests.interop.processes import ROOT, environment, stock_worker
from tests.redis_servers import eventually, redis_server
from tests.sweep import ignore_unclosed, sweep

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "docs" / "examples" / "worker"
NAMES = {path.stem for path in FOLDER.glob("*.py")}
NUMBER = 200
state: Any = importlib.import_module("celery._state")
PATIENCE = 90

pytestmark = [
    ignore_unclosed,
    # Celery takes these until its version 6.
    pytest.mark.filterwarnings(r"ignore:\s*The '(queue|priority)' task attribute"),
]


@pytest.fixture(scope="module", autouse=True)
def _as_before(own_redis: str) -> Iterator[None]:
    # What is swept away still says good-bye to the server.
    was_installed = journal() is not None
    yield
    if not was_installed:
        celery_async_bridge.uninstall()
    sweep()


@pytest.fixture(scope="module")
def own_redis() -> Iterator[str]:
    """A server for these names alone: others may run the same examples."""
    with redis_server() as server:
        yield server.url


@pytest.fixture(
    params=[
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=pytest.mark.amqp),
    ]
)
def url(request: pytest.FixtureRequest, own_redis: str) -> str:
    if request.param == "redis":
        return own_redis
    return str(request.getfixturevalue("amqp_url"))


@contextmanager
def _nothing_shared() -> Iterator[None]:
    # Tasks belong to all apps of a process that are finalized later, and three
    # examples have one of the same name.
    shared: set[Any] = state._on_app_finalizers
    before = set(shared)
    try:
        yield
    finally:
        shared.clear()
        shared.update(before)


@pytest.fixture
def examples(
    url: str, own_redis: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """The modules, each with an app that knows no task of the others."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", own_redis)
    current: Any = state._tls.current_app
    found: dict[str, Any] = {}
    try:
        for name in NAMES if find_spec("asyncpg") else NAMES - {"app_context"}:
            with _nothing_shared():
                module = found[name] = importlib.import_module(name)
                if name != "send_task":
                    module.app.conf.broker_url = url
                if name != "priorities":
                    module.app.conf.task_default_queue = f"{unique}.{name}"
                module.app.finalize()
        yield found
    finally:
        state._set_current_app(current)
        for name, module in found.items():
            module.app.close()
            del sys.modules[name]
        found.clear()
        del module
        sweep()


def test_all_are_listed() -> None:
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(NAMES) == 8
    assert [name for name in NAMES if f"| `{name}.py` |" not in listed] == []


async def priorities(examples: dict[str, Any], url: str) -> None:
    """Both messages have come through their queues, with their priorities."""
    module = examples["priorities"]
    loop = asyncio.get_running_loop()
    ended: asyncio.Queue[tuple[str, int, int]] = asyncio.Queue()

    def note(sender: Any, result: int, **_: Any) -> None:
        if sender.app is module.app:
            came = sender.request.delivery_info
            end = (came["routing_key"], came["priority"], result)
            loop.call_soon_threadsafe(ended.put_nowait, end)

    task_success.connect(note)
    try:
        await module.main(url)
        ends = {await ended.get(), await ended.get()}
    finally:
        task_success.disconnect(note)
    assert ends == {("queue-b", 6, 5), ("queue-c", 7, 5)}


async def postgres() -> str | None:
    """What the database says of itself, if there is one and a driver for it."""
    try:
        asyncpg = importlib.import_module("asyncpg")
        connection = await asyncpg.connect("postgresql://localhost:5432")
    except Exception:
        return None
    try:
        return str(await connection.fetchval("SELECT version()"))
    finally:
        await connection.close()


async def run(examples: dict[str, Any], url: str) -> list[str]:
    """Run all at once, as they mostly sleep; what they must print."""
    names = ["results", "retries", "shared_tasks"]
    said = [f"Published {NUMBER}", "7", "Result is 0", "Result is 5", "Result is 5"]
    version = await postgres()
    if version is not None:
        names.append("app_context")
        said.append(version)
    examples["priorities"].app.amqp.queues.select(["queue-a", "queue-b", "queue-c"])
    # Kombu's Redis channels share a dictionary, which must not change while one of
    # them closes: no worker begins when another ends.
    async with AsyncExitStack() as workers:
        for name in ["priorities", *names]:
            worker = celery_async_bridge.embedded_worker(examples[name].app)
            await workers.enter_async_context(worker)
        await asyncio.gather(
            priorities(examples, url),
            examples["publish"].main(url, NUMBER),
            *(examples[name].main(url, PATIENCE) for name in ["send_task", *names]),
        )
    return sorted(said)


class Dice:
    """In the place of the module `random`."""

    def __init__(self, numbers: Iterator[float]) -> None:
        self.random = numbers.__next__


def test_they_print_what_they_say(
    examples: dict[str, Any],
    url: str,
    own_redis: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    env = environment("", "", "")
    env["PYTHONPATH"] += f":{FOLDER}"
    env["CELERY_BROKER_URL"], env["CELERY_RESULT_BACKEND"] = url, own_redis
    app = examples["hello"].app
    queues = f"{app.conf.task_default_queue},high-priority"
    options = ("-c", "1000", "-Q", queues, "-l", "INFO")

    dice = iter([1.0, 0.0])  # once more, then well
    monkeypatch.setattr(examples["retries"], "random", Dice(dice))
    examples["shared_tasks"].app.set_current()
    log = tmp_path / "log"

    def all_are_done() -> bool:
        return log.read_text().count("succeeded in") == NUMBER + 1

    with stock_worker(app, "asyncio", env, log, module="hello", options=options):
        said = asyncio.run(asyncio.wait_for(run(examples, url), PATIENCE))
        eventually(all_are_done, what="the tasks of publish.py and send_task.py")
    assert sorted(capsys.readouterr().out.splitlines()) == said
    assert next(dice, None) is None
