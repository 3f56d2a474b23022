"""explain() tells the truth about tiers, and never a password."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task

from celery_async_bridge import explain, install, uninstall
from celery_async_bridge.core.dispatch import is_native
from celery_async_bridge.install import journal

if TYPE_CHECKING:
    from celery_async_bridge.explain import Row

ROOT = Path(__file__).parents[2]
SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    was_installed = journal() is not None
    install()
    yield
    if not was_installed:
        uninstall()


def _app(broker: str, backend: str | None, **conf: Any) -> Any:
    app = Celery("explained", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(conf)
    return app


def _row(app: Any, cls: str, method: str) -> Row:
    rows = [row for row in explain(app) if (row.cls, row.method) == (cls, method)]
    assert len(rows) == 1
    return rows[0]


def test_one_row_for_every_name_that_was_grafted() -> None:
    report = explain(_app("memory://", "cache+memory://"))
    shown = [f"{row.cls}.{row.method}" for row in report]
    assert sorted(shown) == sorted(install())
    assert len(report) == len(shown) == len(set(shown))
    assert report[0] == next(iter(report))
    assert report.installed


def test_everything_is_native_in_memory() -> None:
    app = _app("memory://", "cache+memory://")
    row = _row(app, "celery.app.task.Task", "aapply_async")
    assert (row.tier, row.driver) == ("native", "memory")
    row = _row(app, "celery.result.AsyncResult", "aget")
    assert (row.tier, row.driver) == ("native", "memory")
    tiers = {row.tier for row in explain(app)}
    assert tiers == {"native", "inline", "thread"}
    in_threads = {row.reason for row in explain(app) if row.tier == "thread"}
    assert in_threads <= {
        "user code: awaited if it is a coroutine function",
        "runs in the thread of Django's connections",
        "asks no server",
    }


def test_the_slower_side_decides() -> None:
    app = _app("memory://", "rpc://")
    row = _row(app, "celery.app.task.Task", "aapply_async")
    assert (row.tier, row.driver) == ("thread", "")
    assert row.reason == "no native driver for rpc (backend)"
    assert _row(app, "celery.app.control.Control", "abroadcast").tier == "native"
    assert _row(app, "celery.result.AsyncResult", "aget").tier == "thread"
    assert _row(app, "celery.result.AsyncResult", "arevoke").tier == "native"
    assert _row(app, "celery.result.EagerResult", "aget").tier == "inline"


def test_redis_waits_for_states_of_the_store_in_threads() -> None:
    app = _app("redis://localhost/9", "redis://localhost/9")
    for cls, method in (
        ("celery.app.task.Task", "adelay"),
        ("celery.result.AsyncResult", "astate"),
        ("celery.result.AsyncResult", "aget"),
        ("celery.result.ResultSet", "ajoin_native"),
        ("kombu.messaging.Producer", "apublish"),
        ("kombu.simple.SimpleBase", "aput"),
        ("celery.app.control.Inspect", "aactive"),
        ("kombu.connection.Connection", "adrain_events"),
    ):
        row = _row(app, cls, method)
        assert (row.tier, row.driver) == ("native", "redis")
    row = _row(app, "celery.backends.base.SyncBackendMixin", "await_for")
    assert row.tier == "thread"
    assert row.reason == "the redis driver waits in threads (backend)"


def test_no_result_backend() -> None:
    app = _app("memory://", None)
    assert _row(app, "celery.app.task.Task", "adelay").tier == "native"
    row = _row(app, "celery.result.AsyncResult", "aget")
    assert (row.tier, row.reason) == ("thread", "no backend is configured")


@pytest.mark.parametrize(
    ("broker", "backend"),
    [
        ("memory://", "cache+memory://"),
        ("redis://localhost/9", "redis://localhost/9"),
        ("memory://", "redis://localhost/9"),
        ("amqp://localhost//", "cache+memory://"),
        ("memory://", "rpc://"),
        ("memory://", None),
    ],
)
def test_the_tier_is_the_one_that_a_call_takes(
    broker: str, backend: str | None
) -> None:
    app = _app(broker, backend)

    @app.task(name="explained.task", shared=False)  # type: ignore[untyped-decorator]
    def task() -> None:
        pass

    connection = app.connection_for_write()
    objects: dict[tuple[str, str], Any] = {
        ("celery.app.task.Task", "aapply_async"): app.tasks["explained.task"],
        ("celery.app.base.Celery", "aproducer_or_acquire"): app,
        ("celery.result.AsyncResult", "aget"): app.AsyncResult("id"),
        ("celery.app.control.Control", "abroadcast"): app.control,
        ("celery.app.control.Inspect", "aping"): app.control.inspect(),
        ("kombu.connection.Connection", "aconnect"): connection,
        ("kombu.messaging.Producer", "apublish"): connection.Producer(),
    }
    for (cls, method), owner in objects.items():
        waits = method == "aping"  # results are pushed where sends are native
        native = is_native(owner._bridge_route(), waiting=waits)
        said = _row(app, cls, method).tier
        assert said == ("native" if native else "thread"), (cls, method)


def test_without_install_it_says_so() -> None:
    uninstall()
    report = explain(_app("memory://", "cache+memory://"))
    assert not report.installed
    assert {row.tier for row in report} == {"not installed"}
    assert {row.reason for row in report} == {"install() was not called"}
    assert len(report) > 400
    assert report.seams
    assert journal() is None


def test_the_text_is_an_aligned_table() -> None:
    report = explain(_app("memory://", "cache+memory://"))
    lines = str(report).splitlines()
    head = next(line for line in lines if line.startswith("cls "))
    column = head.index("tier")
    table = lines[lines.index(head) + 1 :][: len(report)]
    assert all(line[column - 1] == " " and line[column] != " " for line in table)
    assert any("drain_events" in line for line in lines)
    assert "celery" in lines[0]
    assert not any(line != line.rstrip() for line in lines)


def test_the_dictionary_is_json() -> None:
    report = explain(_app("memory://", "cache+memory://"))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["installed"] is True
    assert set(data["rows"][0]) == {"cls", "method", "tier", "driver", "reason"}
    assert {"celery", "kombu", "python"} <= set(data["versions"])
    assert {"attribute", "scope", "reason"} == set(data["seams"][0])
    assert {seam["scope"] for seam in data["seams"]} <= set("abcd")


@pytest.mark.usefixtures("threads_only")
async def test_lanes_show_their_threads(redis_url: str) -> None:
    app = _app(redis_url, None)
    async with app.connection_for_write() as connection:
        await connection.aconnect()
        lanes = explain(app).lanes
    found = [lane for lane in lanes if lane["lane"] == "call-redis"]
    assert found
    assert not any(lane["stuck"] for lane in found)
    assert any(lane["threads"] for lane in found)
    assert "call-redis" in str(explain(app))


def test_tasks_with_a_coroutine_arun_are_listed() -> None:
    app = _app("memory://", None)

    class Async(Task):  # type: ignore[type-arg]
        name = "explained.arun"

        def run(self) -> None:
            raise NotImplementedError

        async def arun(self) -> None:
            pass

    class NotAsync(Task):  # type: ignore[type-arg]
        name = "explained.sync_arun"

        def run(self) -> None:
            pass

        def arun(self) -> None:
            pass

    app.register_task(Async())
    app.register_task(NotAsync())

    @app.task(name="explained.run", shared=False)  # type: ignore[untyped-decorator]
    async def run() -> None:
        pass

    @app.task(name="explained.sync", shared=False)  # type: ignore[untyped-decorator]
    def sync() -> None:
        pass

    assert explain(app).tasks == [
        {"task": "explained.arun", "body": "arun"},
        {"task": "explained.run", "body": "run"},
    ]


URLS = [
    f"redis://:{SECRET}@h:6379/0",
    f"amqp://u:{SECRET}@h1//;amqp://u:{SECRET}2@h2//",
    f"sentinel://:{SECRET}@h1:1;sentinel://:{SECRET}@h2:1",
    f"amqp://u:a/{SECRET}@b@h//",
    f"redis://h?password={SECRET}",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("installed", [True, False])
def test_no_password_is_shown(url: str, installed: bool) -> None:
    if not installed:
        uninstall()
    for app in (
        _app(url, None),
        _app("memory://", url),
        _app("memory://", None, broker_write_url=url, broker_read_url=url),
        _app("memory://", None, broker_url=[url, url]),
        _app("memory://", None, result_backend=f"no-url {url}"),
        _app("memory://", None, result_backend=f"u:{SECRET}@h"),
    ):
        report = explain(app)
        for text in (str(report), repr(report), json.dumps(report.to_dict())):
            assert SECRET not in text


@pytest.mark.usefixtures("threads_only")
async def test_no_password_in_the_lanes(redis_url: str) -> None:
    url = redis_url.replace("redis://", f"redis://default:{SECRET}@", 1)
    app = _app(url, None)
    # A server without a password refuses one, unless its default user takes any.
    async with app.connection_for_write() as connection:
        with suppress(*connection.connection_errors):
            await connection.aconnect()
    report = explain(app)
    assert report.lanes
    assert SECRET not in str(report)
    assert SECRET not in json.dumps(report.to_dict())


def test_without_an_app_it_takes_the_current_one() -> None:
    code = (
        "from celery import Celery; from celery_async_bridge import explain;"
        "app = Celery('t', broker='redis://:s3cr3t@h/1');"
        "print(explain().broker)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "redis://:**@h/1"
