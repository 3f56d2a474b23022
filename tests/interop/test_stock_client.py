"""What a stock client process sends, the embedded worker runs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from celery_async_bridge import embedded_worker, install, uninstall
from tests.interop.processes import ROOT, environment, forget
from tests.interop.stock_app import make_app
from tests.sweep import ignore_unclosed, sweep

pytestmark = ignore_unclosed

URLS = {"redis": "redis_server", "amqp": "amqp_url"}


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    install()
    yield
    uninstall()
    sweep()


async def _run_client(env: dict[str, str]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.interop.stock_client",
        cwd=ROOT,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, err.decode()
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize(("broker", "backend"), [("redis", "redis"), ("amqp", "rpc")])
async def test_client(
    request: pytest.FixtureRequest, broker: str, backend: str
) -> None:
    url = request.getfixturevalue(URLS[broker])
    prefix = request.getfixturevalue("unique")
    backend_url = url if backend == broker else "rpc://"
    app = make_app(url, backend_url, prefix)
    try:
        async with embedded_worker(app):
            found = await _run_client(environment(url, backend_url, prefix))
    finally:
        app.close()
        forget(url, prefix)
    expected = {
        "add": 5,
        "chain": 13,
        "group": [0, 2, 4],
        "error": "ValueError('boo')",
        "state": "FAILURE",
        "retries": 2,
    }
    if backend != "rpc":
        expected["chord"] = 6
    assert found == expected
