"""What the twins send, stock workers run; results are read both ways."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from celery import canvas
from kombu import pools

from celery_async_bridge import install, uninstall
from tests.interop.processes import environment, forget, stock_worker
from tests.interop.replies import nothing_left
from tests.interop.stock_app import make_app
from tests.sweep import ignore_unclosed, sweep

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = ignore_unclosed

#: Without their types, which do not know the twins.
chain: Any = canvas.chain
chord: Any = canvas.chord
group: Any = canvas.group

PAIRS = [("redis", "redis"), ("amqp", "rpc")]
#: Fixtures that live as long as a module.
URLS = {"redis": "redis_server", "amqp": "amqp_url"}
POOLS = ["prefork", "solo"]


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    install()
    yield
    uninstall()
    sweep()


@pytest.fixture(
    scope="module",
    params=[(*pair, pool) for pair in PAIRS for pool in POOLS],
    ids=lambda param: "-".join(param),
)
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """An app whose tasks a stock worker process runs."""
    broker, backend, pool = request.param
    url = request.getfixturevalue(URLS[broker])
    prefix = f"interop-{broker}-{pool}-{tmp_path_factory.getbasetemp().name}"
    backend_url = url if backend == broker else "rpc://"
    app = make_app(url, backend_url, prefix)
    log: Path = tmp_path_factory.mktemp("worker") / "log"
    with stock_worker(app, pool, environment(url, backend_url, prefix), log):
        yield app
    app.close()
    pools.reset()
    forget(url, prefix)


def _is_rpc(app: Any) -> bool:
    return bool(app.conf.result_backend.startswith("rpc"))


async def test_task(app: Any) -> None:
    result = await app.tasks["stock.add"].adelay(2, 3)
    assert await result.aget(timeout=20) == 5
    assert await result.astate() == "SUCCESS"
    assert result.get(timeout=1) == 5


async def test_many_at_once(app: Any) -> None:
    add = app.tasks["stock.add"]
    results = await asyncio.gather(*(add.adelay(n, n) for n in range(30)))
    values = await asyncio.gather(*(result.aget(timeout=30) for result in results))
    assert values == [2 * n for n in range(30)]


async def test_failure(app: Any) -> None:
    result = await app.tasks["stock.fail"].adelay("boo")
    with pytest.raises(ValueError, match="boo"):
        await result.aget(timeout=20)
    assert await result.afailed()


async def test_retry(app: Any) -> None:
    result = await app.tasks["stock.retrying"].adelay()
    assert await result.aget(timeout=30) == 2


async def test_options_reach_the_task(app: Any) -> None:
    result = await app.tasks["stock.whoami"].aapply_async(
        headers={"x": "y"}, priority=3
    )
    found = await result.aget(timeout=20)
    assert found == {
        "id": result.id,
        "root": result.id,
        "parent": None,
        "headers": "y",
        "priority": 3,
    }


async def test_send_by_name(app: Any) -> None:
    result = await app.asend_task("stock.add", (4, 5))
    assert await result.aget(timeout=20) == 9


async def test_chain(app: Any) -> None:
    add = app.tasks["stock.add"]
    result = await chain(add.s(1, 2), add.s(10), add.s(100)).aapply_async()
    assert await result.aget(timeout=20) == 113
    assert await result.parent.aget(timeout=20) == 13


async def test_group(app: Any) -> None:
    add = app.tasks["stock.add"]
    result = await group(add.s(n, n) for n in range(5)).aapply_async()
    assert await result.ajoin(timeout=20) == [0, 2, 4, 6, 8]
    assert await result.asuccessful()


async def test_chord(app: Any) -> None:
    add, total = app.tasks["stock.add"], app.tasks["stock.total"]
    header = [add.s(n, n) for n in range(5)]
    if _is_rpc(app):
        with pytest.raises(NotImplementedError):
            await chord(header, total.s()).aapply_async()
        return
    result = await chord(header, total.s()).aapply_async()
    assert await result.aget(timeout=20) == 20


async def test_cancelled_waits_lose_no_result(app: Any) -> None:
    add, rand = app.tasks["stock.add"], random.Random(3)
    for n in range(25):
        result = await add.adelay(n, 1)
        wait = asyncio.ensure_future(result.aget(timeout=5))
        await asyncio.sleep(rand.random() * 0.04)
        wait.cancel()
        await asyncio.wait({wait})
        assert await result.aget(timeout=5) == n + 1


async def test_stock_send_is_awaited(app: Any) -> None:
    if _is_rpc(app):
        pytest.skip("rpc results go to the thread that sent the task")
    result = await asyncio.to_thread(app.tasks["stock.add"].delay, 2, 3)
    again = app.AsyncResult(result.id)
    assert await again.aget(timeout=20) == 5


async def test_control(app: Any) -> None:
    replies = await app.control.aping(timeout=5, limit=1)
    [[(name, reply)]] = [list(reply.items()) for reply in replies]
    assert reply == {"ok": "pong"}
    stats = await app.control.inspect([name], timeout=5).aactive_queues()
    assert [queue["name"] for queue in stats[name]] == [app.conf.task_default_queue]


async def test_many_ask_at_once(app: Any) -> None:
    [[node]] = [list(one) for one in await app.control.aping(timeout=20, limit=1)]
    options: dict[str, Any] = {"destination": [node], "reply": True, "timeout": 30}
    with nothing_left(app) as replies:
        asked = [
            asyncio.ensure_future(
                app.control.acancel_consumer(f"no-queue-{n}.", **options)
            )
            for n in range(20)
        ]
        left = [
            asyncio.ensure_future(app.control.aping(["no@body"], timeout=60))
            for _ in range(5)
        ]
        for n, answer in enumerate(await asyncio.gather(*asked)):
            [reply] = answer
            assert f"no-queue-{n}." in reply[node]["ok"]
        for one in left:
            one.cancel()
        ends = await asyncio.gather(*left, return_exceptions=True)
        assert {type(end) for end in ends} == {asyncio.CancelledError}
        assert len(set(replies.queues)) == len(replies.queues) >= 20
        await replies.gone()


async def test_revoked_task_does_not_run(app: Any) -> None:
    add = app.tasks["stock.add"]
    result = await add.aapply_async((1, 2), countdown=2)
    await result.arevoke(wait=True, timeout=2)
    with pytest.raises(Exception, match="revoked"):
        await result.aget(timeout=20)
