from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import kombu
import pytest
from kombu.message import Message

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Named = Callable[..., str]


@asynccontextmanager
async def _queue(url: str, name: str) -> AsyncIterator[Any]:
    async with Connection(url) as entered:
        connection: Any = entered
        async with connection.asimple_queue(name) as queue:
            await queue.aput("x")
            yield queue


@pytest.mark.parametrize(
    ("twin", "sync", "left"),
    [("aack", "ack", 0), ("areject", "reject", 0), ("arequeue", "requeue", 1)],
)
async def test_settling(
    url: str, named: Named, twin: str, sync: str, left: int
) -> None:
    async with _queue(url, named()) as queue:
        message = await queue.aget_nowait()
        assert await getattr(message, twin)() is None
        state = message._state
        for again in (twin, "aack", "areject", "arequeue"):
            with pytest.raises(message.MessageStateError):
                await getattr(message, again)()
        # The broker has done it: on a connection of its own nobody's buffer hides it.
        async with Connection(url) as entered:
            other: Any = entered
            async with other.asimple_queue(queue.queue.name) as queue2:
                found = []
                await queue2.aput("y")
                while "y" not in found:
                    message = await queue2.aget(timeout=5)
                    found.append(message.payload)
                assert sorted(found) == ["x"] * left + ["y"]
                getattr(message, sync)()
                assert message._state == state


async def test_a_rejected_message_can_be_requeued(url: str, named: Named) -> None:
    async with _queue(url, named()) as queue:
        await (await queue.aget_nowait()).areject(requeue=True)
        message = await queue.aget(timeout=5)
        assert message.payload == "x"
        await message.aack()


@pytest.mark.parametrize("verb", ["ack", "reject"])
async def test_errors_are_logged_as_by_the_sync_twin(
    url: str, named: Named, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("test.settling")
    async with _queue(url, named()) as queue:
        message = await queue.aget_nowait()
        settle = getattr(message, f"a{verb}_log_error")
        assert await settle(logger, (ValueError,)) is None
        assert not caplog.records
        with pytest.raises(message.MessageStateError):
            await settle(logger, (ValueError,))
        errors = (message.MessageStateError,)
        getattr(message, f"{verb}_log_error")(logger, errors)
        assert await settle(logger, errors) is None
        first, second = caplog.records
        assert (first.name, first.levelno, first.msg) == (
            second.name,
            second.levelno,
            second.msg,
        )


async def test_a_message_without_a_channel() -> None:
    message: Any = Message(body="x", channel=None)
    with pytest.raises(message.MessageStateError):
        await message.aack()
