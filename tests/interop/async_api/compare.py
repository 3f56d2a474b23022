"""What a call with the twins gives, beside what the sync call gives."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from tests.interop.async_api.api_tasks import box

#: Seconds for what should take well under one.
TIMEOUT = 20.0

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def awaited(sig: Any, *args: Any, follow: bool = True, **options: Any) -> Any:
    """The outcome of a signature that is sent and awaited on the loop.

    Arguments:
        sig: the signature.
        args: for `aapply_async`.
        follow: whether an error of a task before the last one may come first.
        options: for `aapply_async`.
    """
    try:
        result = await sig.aapply_async(*args, **options)
        value = await result.aget(timeout=TIMEOUT, **_following(result, follow))
    except Exception as exc:
        return _failed(exc)
    return {"value": value, "shape": shape(result)}


async def by_thread(sig: Any, *args: Any, follow: bool = True, **options: Any) -> Any:
    """The same as upstream sends it, and waits for it."""

    def run() -> Any:
        try:
            result = sig.apply_async(*args, **options)
            value = result.get(timeout=TIMEOUT, **_following(result, follow))
        except Exception as exc:
            return _failed(exc)
        return {"value": value, "shape": shape(result)}

    return await asyncio.to_thread(run)


async def both(build: Callable[[], Any], *args: Any, **options: Any) -> Any:
    """The outcome on the loop, once it is the same in a thread; the canvas is new."""
    ours = await awaited(build(), *args, **options)
    theirs = await by_thread(build(), *args, **options)
    assert ours == theirs, f"{ours} is not {theirs}"
    return ours


async def in_box(app: Any, key: str, count: int) -> list[Any]:
    """What tasks have recorded under `key`, once there are `count` entries."""
    client = app.backend.client
    for _ in range(int(TIMEOUT / 0.05)):
        found = await asyncio.to_thread(client.lrange, box(app, key), 0, -1)
        if len(found) >= count:
            break
        await asyncio.sleep(0.05)
    return [json.loads(entry) for entry in found]


def shape(result: Any) -> Any:
    """A result handle without its ids: what it is, and what hangs on it."""
    if result is None:
        return None
    members = getattr(result, "results", None)
    below = None if members is None else [shape(member) for member in members]
    return type(result).__name__, shape(result.parent), below


def masked(text: str) -> str:
    """A text without the ids in it."""
    return _ID.sub("ID", text)


def _following(result: Any, follow: bool) -> dict[str, bool]:
    # Sets have no such argument.
    return {} if follow or hasattr(result, "results") else {"follow_parents": False}


def _failed(exc: Exception) -> dict[str, Any]:
    return {"error": type(exc), "text": masked(str(exc))}
