"""`django.tasks` in a worker that knows nothing of event loops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.apps import an_app
from tests.integration.django import proj, site
from tests.interop.processes import forget, stock_worker
from tests.sweep import ignore_unclosed

pytest.importorskip("django")
pytest.importorskip("django.tasks", reason="django.tasks needs Django 6.0")

if TYPE_CHECKING:
    from pathlib import Path


@ignore_unclosed
def test_a_worker_without_a_loop_executes_coroutines_too(
    redis_url: str, unique: str, tmp_path: Path
) -> None:
    from tests.integration.django import jobs

    log = tmp_path / "log"
    env = site.celery_environment(redis_url, unique)
    with an_app(redis_url, redis_url, unique) as app:
        proj.task_app = app
        module = "tests.integration.django.proj"
        with stock_worker(app, "solo", env, log, module=module, node="tasks"):

            async def both() -> list[Any]:
                enqueued = [
                    await jobs.aadd.aenqueue(1, 2),
                    await jobs.aseen.aenqueue("x"),
                    await jobs.add.aenqueue(1),
                ]
                for one in enqueued:
                    await app.AsyncResult(one.id).aget(timeout=60)
                    await one.arefresh()
                return enqueued

            added, seen, plain = asyncio.run(both())
        proj.task_app = None
    forget(redis_url, unique)
    assert (added.return_value, plain.return_value) == (3, 1)
    assert seen.return_value == [seen.id, 1, "x"]
