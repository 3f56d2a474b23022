"""Every state of a task is pushed to who iterates over them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.exceptions import TimeoutError as CeleryTimeoutError
from kombu.exceptions import DecodeError

from celery_async_bridge.drivers.memory.notify import BOARD
from celery_async_bridge.mixins.celery import _waiting

if TYPE_CHECKING:
    from celery_async_bridge.drivers.embedded.backend import EmbeddedBackend


@pytest.fixture(autouse=True)
def _no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_waiting, "poller_for")


def _app(url: str) -> Any:
    return Celery("feed", broker=url, backend=url, set_as_current=False)


def _tell(app: Any, task_id: str, value: Any, state: str) -> None:
    backend: EmbeddedBackend = app.backend
    thread = threading.Thread(target=backend.store_result, args=(task_id, value, state))
    thread.start()
    thread.join()


async def test_each_change_is_seen(url: str) -> None:
    app = _app(url)
    result = app.AsyncResult("one")
    seen = []
    async for state, meta in result.astates(timeout=60, interval=3600):
        seen.append((state, meta["result"]))
        told = len(seen)
        _tell(app, "one", told, "PROGRESS" if told < 20 else "SUCCESS")
    assert seen[0] == ("PENDING", None)
    assert seen[1:20] == [("PROGRESS", number) for number in range(1, 20)]
    assert seen[20:] == [("SUCCESS", 20)]
    assert not len(BOARD)


async def test_a_task_that_is_ready(url: str) -> None:
    app = _app(url)
    app.backend.mark_as_failure("two", ValueError("no"))
    (told,) = [told async for told in app.AsyncResult("two").astates(timeout=60)]
    state, meta = told
    assert (state, repr(meta["result"])) == ("FAILURE", repr(ValueError("no")))
    assert not len(BOARD)


async def test_who_leaves_is_not_rung_for(url: str) -> None:
    app = _app(url)
    states = app.AsyncResult("three").astates(timeout=60)
    assert (await anext(states))[0] == "PENDING"
    assert len(BOARD) == 1
    waiting = asyncio.ensure_future(anext(states))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not len(BOARD)
    _tell(app, "three", 1, "SUCCESS")
    assert await app.AsyncResult("three").aget(timeout=60) == 1


async def test_the_time_is_up(url: str) -> None:
    states = _app(url).AsyncResult("four").astates(timeout=0.01)
    assert (await anext(states))[0] == "PENDING"
    with pytest.raises(CeleryTimeoutError):
        await anext(states)
    assert not len(BOARD)


async def test_what_cannot_be_read(url: str) -> None:
    app = _app(url)
    result: Any = app.AsyncResult("five")
    states = result.astates(timeout=60)
    await anext(states)
    key = result.backend.get_key_for_task("five")
    result.backend.set(key, b"no json")
    with pytest.raises(DecodeError, match="Expecting value"):
        await anext(states)
    assert not len(BOARD)
