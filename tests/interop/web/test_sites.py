"""The example projects, with the broker in the process and with real workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from tests.integration.proxy import closed_port
from tests.interop.processes import environment, stock_worker
from tests.interop.web.serving import EXAMPLES, FASTAPI, KINDS, Site, require, serving
from tests.redis_servers import redis_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.web.serving import Kind

DECLINED = "CardDeclined: the card that ends in 9995 was declined"
UVICORN = KINDS["uvicorn"]
FASTAPI_FOLDER = "fastapi_shop"
FOLDER = "django_shop"


def started(site: Site, name: str) -> str:
    """The id of a job that was just sent."""
    status, body = site.request("POST", f"/jobs/{name}/start")
    assert status == 202, body
    return str(json.loads(body)["id"])


def told(site: Site, name: str) -> list[dict[str, Any]]:
    """What the site says of a job, to its end."""
    return list(site.events(f"/jobs/{started(site, name)}/events"))


def percents(events: list[dict[str, Any]]) -> list[int]:
    """How far a job was."""
    return [event["percent"] for event in events if "percent" in event]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The Django project with nothing beside it."""
    with serving(UVICORN, FOLDER, tmp_path / "log", {}) as site:
        site.enter()
        yield site


def test_one_command_is_enough(site: Site) -> None:
    *between, last = told(site, "parcel")
    assert last == {
        **{"state": "SUCCESS", "percent": 100},
        **{"text": "delivered", "ready": True},
    }
    found = percents(between)
    assert found == sorted(found)
    assert {25, 50, 75} & set(found)
    assert told(site, "card")[-1] == {
        **{"state": "FAILURE", "text": DECLINED},
        **{"ready": True},
    }
    # One who does not wait for the end.
    with site.stream("GET", f"/jobs/{started(site, 'pack')}/events") as answer:
        assert answer.readline().startswith(b"data: ")
    assert site.request("POST", "/jobs/nonsense/start")[0] == 404
    assert site.request("GET", "/jobs/pack/start")[0] == 405
    # A browser that is still watching sees the end of its job.
    watched = site.events(f"/jobs/{started(site, 'pack')}/events")
    next(watched)
    site.process.terminate()
    assert list(watched)[-1]["text"] == "20 boxes packed"
    site.end()


def test_prefork_and_asyncio_workers(tmp_path: Path) -> None:
    require(*UVICORN.needs)
    with redis_server() as server, ExitStack() as stack:
        env = environment("", "", "")
        env["SHOP_BROKER"] = server.url
        env["PYTHONPATH"] += f":{EXAMPLES / FOLDER}"
        app = Celery(broker=server.url, set_as_current=False)
        stack.callback(app.close)
        workers = [
            stock_worker(
                app,
                pool,
                env,
                tmp_path / pool,
                module="website",
                options=("-c", "2", "-Q", queue),
                node=pool,
            )
            for pool, queue in (("prefork", "orders"), ("asyncio", "coroutines"))
        ]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(stack.enter_context, workers))
        log = tmp_path / "log"
        with serving(UVICORN, FOLDER, log, {"SHOP_BROKER": server.url}) as site:
            site.enter()
            jobs = {name: started(site, name) for name in ("pack", "suppliers", "card")}
            ends = {
                name: list(site.events(f"/jobs/{job_id}/events"))
                for name, job_id in jobs.items()
            }
            site.end()
        assert ends["pack"][-1]["text"] == "20 boxes packed"
        assert len(percents(ends["pack"])) > 3
        assert ends["suppliers"][-1]["percent"] == 100
        assert ends["card"][-1]["text"] == DECLINED


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    env = {"SHOP_BROKER": f"redis://127.0.0.1:{closed_port()}/0"}
    with serving(UVICORN, FOLDER, tmp_path / "log", env) as site:
        site.enter()
        status, body = site.request("POST", "/jobs/pack/start")
        assert (status, json.loads(body)) == (
            503,
            {"error": "the broker cannot be reached"},
        )
        site.end()


def test_fastapi(tmp_path: Path) -> None:
    kind: Kind = FASTAPI
    with serving(kind, FASTAPI_FOLDER, tmp_path / "log", {}) as site:
        ends = []
        for boxes in (5, 50):
            status, body = site.request("POST", f"/orders?boxes={boxes}")
            assert status == 202
            path = f"/orders/{json.loads(body)['id']}"
            *between, last = site.events(f"{path}/events")
            assert [event["state"] for event in between if boxes > 20] in (
                [],
                ["PENDING"],
            )
            _, answer = site.request("GET", path)
            ends.append((last, json.loads(answer)))
        unknown = "/orders/00000000-0000-0000-0000-000000000000?timeout=0.05"
        assert json.loads(site.request("GET", unknown)[1]) == {"state": "PENDING"}
        site.end()
    refused = "50 boxes do not fit into the van"
    assert ends == [
        ({"state": "SUCCESS", "result": 5}, {"packed": 5}),
        ({"state": "FAILURE", "result": refused}, {"error": refused}),
    ]
