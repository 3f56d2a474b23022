"""The same two workers over RabbitMQ, where control runs in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.interop.async_api.two import ask_both, two_workers
from tests.interop.replies import Replies, nothing_left
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from tests.interop.async_api.two import Pair

pytestmark = ignore_unclosed

AT_ONCE = 50


@pytest.fixture(scope="module")
def pair(
    amqp_url: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two workers of one process each."""
    with two_workers(amqp_url, redis_server, tmp_path_factory, "api-amqp") as pair:
        yield pair


@pytest.fixture
def replies(pair: Pair) -> Iterator[Replies]:
    """What the test leaves on the broker."""
    with nothing_left(pair.app) as found:
        yield found


async def test_fifty_questions_at_once(pair: Pair, replies: Replies) -> None:
    """Each gets what both workers say to it, and nothing else."""
    await ask_both(pair, replies, AT_ONCE)


async def test_fifty_commands_at_once(pair: Pair, replies: Replies) -> None:
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
    await replies.gone()
