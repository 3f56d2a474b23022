"""Views that send: by Django's test clients, by a real server, in Django's tests."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from asgiref.sync import async_to_sync
from celery import signals

import celery_async_bridge
from tests.integration.apps import an_app, sockets
from tests.integration.django import proj, site
from tests.interop.processes import ROOT, forget
from tests.redis_servers import eventually
from tests.sweep import ignore_unclosed, sweep

pytest.importorskip("django")

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = ignore_unclosed


@pytest.fixture
def app(redis_url: str, unique: str) -> Iterator[Any]:
    """The app of the views, on Redis."""
    with an_app(redis_url, redis_url, unique) as app:
        proj.add_tasks(app)
        proj.task_app = app
        yield app
        proj.task_app = None
    forget(redis_url, unique)


def waiting(app: Any) -> int:
    """Messages in the queue of the app."""
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[app.conf.task_default_queue]
        return int(queue(connection.default_channel).queue_declare().message_count)


def test_the_sync_client_has_a_loop_for_each_request(app: Any) -> None:
    from django.test import Client

    client = Client()
    assert client.get("/send/").status_code == 200
    before = sockets()
    for path in ("/send/", "/sync/") * 10:
        assert client.get(path).status_code == 200
    sweep()
    assert sockets() <= before
    assert waiting(app) == 21


async def test_the_async_client(app: Any) -> None:
    from django.test import AsyncClient

    client = AsyncClient()
    for path in ("/send/", "/sync/") * 5:
        assert (await client.get(path)).status_code == 200
    responses = await asyncio.gather(*(client.get("/gather/") for _ in range(10)))
    assert {len(one.json()["ids"]) for one in responses} == {10}
    assert await asyncio.to_thread(waiting, app) == 110
    await celery_async_bridge.aclose()


def test_async_to_sync_leaves_no_socket(app: Any) -> None:
    async_to_sync(app.keep.adelay)(1)
    before = sockets()
    for _ in range(50):
        async_to_sync(app.keep.adelay)(1)
    sweep()
    assert sockets() <= before
    assert waiting(app) == 51


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_view_that_is_undone_sends_nothing(app: Any, kind: str) -> None:
    from django import test

    got: list[str] = []

    def note(headers: Any, **_: Any) -> None:
        got.append(headers["of"])

    client = getattr(test, kind)()
    get = client.get if kind == "Client" else async_to_sync(client.get)
    signals.after_task_publish.connect(note)
    try:
        for query in ("of=a", "of=b&fail", "of=c"):
            assert get(f"/commit/?{query}").status_code == 200
    finally:
        signals.after_task_publish.disconnect(note)
    assert got == ["a", "c"]


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_views_where_each_request_is_a_transaction(
    app: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django import test
    from django.db import connections

    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    got: list[int] = []

    def note(body: Any, **_: Any) -> None:
        got.append(body[0][0])

    client = getattr(test, kind)(raise_request_exception=False)
    get = client.get if kind == "Client" else async_to_sync(client.get)
    signals.after_task_publish.connect(note)
    try:
        paths = ("/with/", "/with/?fail", "/without/", "/send/")
        # Django itself refuses async views that it would have to wrap.
        assert [get(path).status_code for path in paths] == [200, 500, 200, 500]
    finally:
        signals.after_task_publish.disconnect(note)
    assert got == [1, 2]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_real_server(redis_url: str, unique: str, tmp_path: Path) -> None:
    """It starts with `--lifespan on`, serves, and stops without a word."""
    pytest.importorskip("uvicorn")
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-X", "dev", "-m", "uvicorn", "--lifespan", "on"]
    command += ["--port", str(port), "tests.integration.django.asgi:application"]

    def get(path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
            return json.load(response)

    def up() -> bool:
        assert server.poll() is None, log.read_text()
        try:
            return bool(get("/send/"))
        except URLError:
            return False

    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env=site.celery_environment(redis_url, unique),
            stdout=output,
            stderr=output,
        )
        try:
            eventually(up, 60, what="the server")
            with ThreadPoolExecutor(10) as pool:
                paths = ["/send/", "/sync/", "/gather/", "/commit/"] * 25
                answers = list(pool.map(get, paths))
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait(30)
    with an_app(redis_url, redis_url, unique) as app:
        assert waiting(app) >= 25 * 13 + 1
    forget(redis_url, unique)
    said = log.read_text()
    assert len(answers) == 100
    assert "Application startup complete" in said
    assert "Application shutdown complete" in said
    wrong = ("Traceback", "never awaited", "nclosed", "loop is closed", "Unsupported")
    assert [word for word in wrong if word in said] == [], said
