"""`filesystem://`: whole messages, and no disk on the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import kombu
import kombu.transport.filesystem
import pytest
from kombu.exceptions import ChannelError, OperationalError

if TYPE_CHECKING:
    from pathlib import Path

# Untyped: what is grafted is not in the stubs.
Connection: Any = kombu.Connection
Queue: Any = kombu.Queue
filesystem: Any = kombu.transport.filesystem


def connect(folder: Path) -> Any:
    for name in ("queues", "control"):
        (folder / name).mkdir(exist_ok=True)
    options = {
        "data_folder_in": str(folder / "queues"),
        "data_folder_out": str(folder / "queues"),
        "control_folder": str(folder / "control"),
    }
    return Connection("filesystem://", transport_options=options)


async def test_a_message_appears_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], threading.Thread]] = []
    unlock = filesystem.unlock

    def look(file: Any) -> None:
        # Upstream has just written.
        if file.name.endswith(".msg"):
            found = [path.name for path in (tmp_path / "queues").glob("*.msg")]
            seen.append((found, threading.current_thread()))
        unlock(file)

    monkeypatch.setattr(filesystem, "unlock", look)
    async with connect(tmp_path) as one, one.SimpleQueue("q") as queue:
        await queue.aput({"a": 1})
        ((found, thread),) = seen
        assert found == []
        assert thread is not threading.current_thread()
        (path,) = (tmp_path / "queues").iterdir()
        assert path.name.endswith(".q.msg")
        message = await queue.aget(timeout=30)
        assert message.payload == {"a": 1}
        await message.aack()
    # Sync code writes as it always did.
    with connect(tmp_path) as sync:
        sync.SimpleQueue("q").put(2)
    assert len(seen[1][0]) == 1


async def test_fanout_and_stock_readers(tmp_path: Path) -> None:
    exchange = kombu.Exchange("news", "fanout")
    queues = [Queue(name, exchange) for name in ("a", "b")]
    async with connect(tmp_path) as one:
        await one.Producer().apublish("hi", exchange=exchange, declare=queues)

    def read() -> list[Any]:
        with connect(tmp_path) as sync:
            found = [sync.SimpleQueue(q).get(timeout=5) for q in queues]
            for message in found:
                message.ack()
            return [message.payload for message in found]

    assert await asyncio.to_thread(read) == ["hi", "hi"]
    assert list((tmp_path / "queues").iterdir()) == []


async def test_a_folder_that_is_not_there_raises_as_ever(tmp_path: Path) -> None:
    async with connect(tmp_path) as one:
        (tmp_path / "queues").rmdir()
        producer = one.Producer()
        with pytest.raises((ChannelError, OperationalError)) as expected:
            await asyncio.to_thread(producer.publish, 1, routing_key="q")
        with pytest.raises(type(expected.value)):
            await producer.apublish(1, routing_key="q")
