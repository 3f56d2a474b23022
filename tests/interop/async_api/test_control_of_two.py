"""Two stock workers are asked by many at once, and nothing is left of it."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import kombu
import pytest

from tests.interop.async_api.two import ask_both, two_workers
from tests.interop.replies import Replies, nothing_left
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.interop.async_api.two import Pair

pytestmark = ignore_unclosed

#: Only with packages that a worker need not have.
SAMPLES = {"memsample": (), "memdump": (), "objgraph": ()}
AT_ONCE = 50


@pytest.fixture(scope="module")
def pair(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two workers of one process each."""
    with two_workers(redis_server, redis_server, tmp_path_factory, "api-two") as pair:
        yield pair


@pytest.fixture
def third(pair: Pair, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The name and the process of one more worker."""
    with pair.start("third", tmp_path / "log") as process:
        yield pair.name("third"), process


@pytest.fixture
def replies(pair: Pair) -> Iterator[Replies]:
    """What the test leaves on the broker."""
    with nothing_left(pair.app) as found:
        yield found


async def test_fifty_questions_at_once(pair: Pair, replies: Replies) -> None:
    """Each gets what both workers say to it, and nothing else."""
    await ask_both(pair, replies, AT_ONCE)


async def test_fifty_commands_at_once(pair: Pair) -> None:
    """Each gets both workers' replies to this very command."""
    answers = await asyncio.gather(
        *(
            pair.app.control.acancel_consumer(
                f"no-queue-{n}.", destination=pair.nodes, reply=True, timeout=60
            )
            for n in range(AT_ONCE)
        )
    )
    for n, reply in enumerate(answers):
        assert sorted(node for one in reply for node in one) == pair.nodes
        assert str(reply).count(f"no-queue-{n}.") == len(pair.nodes)


async def test_it_returns_when_all_that_were_named_have_answered(pair: Pair) -> None:
    app, (first, second) = pair.app, pair.nodes
    clock = asyncio.get_running_loop().time
    began = clock()
    pong = {"ok": "pong"}
    assert await app.control.aping([first], timeout=100) == [{first: pong}]
    assert await app.control.inspect([second], timeout=100).aping() == {second: pong}
    both = await app.control.aping([first, second], timeout=100)
    assert sorted(node for one in both for node in one) == pair.nodes
    assert await app.control.inspect(limit=2, timeout=100).aping() == {
        first: pong,
        second: pong,
    }
    assert len(await app.control.aping(limit=1, timeout=100)) == 1
    assert clock() - began < 50


async def test_who_is_not_named_and_late_is_left_out(
    pair: Pair, replies: Replies
) -> None:
    """The reply that a call does not wait for reaches no later call."""
    for _ in range(5):
        assert len(await pair.app.control.aping(limit=1, timeout=60)) == 1
        both = await pair.app.control.aping(pair.nodes, timeout=60)
        assert sorted(node for one in both for node in one) == pair.nodes
    await replies.gone()


async def test_cancelled_calls_leave_nothing(pair: Pair, replies: Replies) -> None:
    """Wherever they are, and although the workers answer them in the end."""
    app = pair.app
    ends: Counter[str] = Counter()
    pair.signal(signal.SIGSTOP)
    try:
        calls = [
            asyncio.ensure_future(app.control.aping(pair.nodes, timeout=60))
            for _ in range(20)
        ]
        for call in calls:
            await asyncio.sleep(0.02)
            call.cancel()
        for end in await asyncio.gather(*calls, return_exceptions=True):
            ends[type(end).__name__] += 1
        await replies.gone()
    finally:
        pair.signal(signal.SIGCONT)
    assert ends == {"CancelledError": 20}
    # Commands come in their order: by now the workers have had all the others.
    assert len(await app.control.aping(pair.nodes, timeout=60)) == 2
    await replies.gone()


async def test_a_call_that_fails_leaves_nothing(pair: Pair, replies: Replies) -> None:
    """The reply queue is declared before the command turns out to be unfit."""
    app = pair.app
    with pytest.raises(kombu.exceptions.EncodeError):
        await app.control.abroadcast("ping", {"x": object()}, reply=True)
    assert len(replies.queues) == 1
    await replies.gone()


async def test_limits_show(pair: Pair) -> None:
    control, nodes = pair.app.control, pair.nodes
    told: dict[str, Any] = {"destination": nodes, "reply": True, "timeout": 60}
    await control.arate_limit("stock.add", "7/s", **told)
    await control.atime_limit("stock.add", soft=41, hard=43, **told)
    inspect = control.inspect(nodes, timeout=60)
    asked = ("rate_limit", "time_limit", "soft_time_limit")
    found = await inspect.aregistered(*asked)
    for node in nodes:
        [add] = [one for one in found[node] if one.startswith("stock.add ")]
        assert add == "stock.add [rate_limit=7/s time_limit=43 soft_time_limit=41]"


async def test_a_queue_of_one_worker(pair: Pair, unique: str) -> None:
    control, (first, second) = pair.app.control, pair.nodes
    inspect = control.inspect(pair.nodes, timeout=60)

    async def consumed() -> dict[str, set[str]]:
        found = await inspect.aactive_queues()
        return {node: {one["name"] for one in found[node]} for node in found}

    default = {pair.app.conf.task_default_queue}
    queue = f"{pair.app.conf.task_default_queue}.{unique}"
    to_first: dict[str, Any] = {"destination": [first], "reply": True, "timeout": 60}
    await control.aadd_consumer(queue, **to_first)
    assert await consumed() == {first: {*default, queue}, second: default}
    await control.acancel_consumer(queue, **to_first)
    assert await consumed() == {first: default, second: default}


async def test_a_worker_shuts_down(
    pair: Pair, third: tuple[str, subprocess.Popen[bytes]]
) -> None:
    control, (node, process) = pair.app.control, third
    assert await control.aping([node], timeout=60) == [{node: {"ok": "pong"}}]
    assert await control.ashutdown([node]) is None
    assert await asyncio.to_thread(process.wait, 60) == 0
    left = await control.aping(limit=2, timeout=60)
    assert sorted(node for one in left for node in one) == pair.nodes
