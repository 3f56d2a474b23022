"""Scripts without a colour: one text, run with the sync methods and with the twins.

A script is a generator that yields steps and is sent their values. `play` runs it with
the sync methods, `aplay` awaits the twin of each of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

__all__ = (
    "Script",
    "Step",
    "aplay",
    "aside",
    "call",
    "each",
    "enter",
    "play",
    "read",
)


@dataclass(frozen=True)
class Step:
    """One thing that a script does.

    Attributes:
        kind: `call`, `read`, `each`, `enter` or `aside`.
        target: the object (or module) whose method is meant.
        name: the sync name.
        twin: the async name, where it is not `a` and the sync name.
        limit: of `each`: how many values are taken.
    """

    kind: str
    target: Any
    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    twin: str = ""
    limit: int | None = None

    def sync(self) -> Any:
        """Call the sync method."""
        return getattr(self.target, self.name)(*self.args, **self.kwargs)

    def awaitable(self) -> Any:
        """Call the twin."""
        twin = getattr(self.target, self.twin or f"a{self.name}")
        return twin(*self.args, **self.kwargs)


#: What a script is: steps go out, their values come back, exceptions are thrown in.
Script = Generator[Step, Any, None]


def call(target: Any, name: str, /, *args: Any, twin: str = "", **kwargs: Any) -> Step:
    """Step: call a method."""
    return Step("call", target, name, args, kwargs, twin)


def read(target: Any, name: str, /, *, twin: str = "") -> Step:
    """Step: read a property that does I/O; its twin is a method."""
    return Step("read", target, name, twin=twin)


def each(
    target: Any,
    name: str,
    /,
    *args: Any,
    twin: str = "",
    limit: int | None = None,
    **kwargs: Any,
) -> Step:
    """Step: take the values of a generator method as a list."""
    return Step("each", target, name, args, kwargs, twin, limit)


def enter(target: Any, name: str, /, *args: Any, twin: str = "", **kwargs: Any) -> Step:
    """Step: enter a context manager; it is left when the script ends."""
    return Step("enter", target, name, args, kwargs, twin)


def aside(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Step:
    """Step: have a stock sync peer do something, outside of the loop's thread."""
    return Step("aside", partial(fn, *args, **kwargs), "")


class _Style(Protocol):
    async def __call__(self, step: Step, stack: AsyncExitStack) -> Any: ...


async def _sync(step: Step, stack: AsyncExitStack) -> Any:
    if step.kind == "aside":
        return step.target()
    if step.kind == "read":
        return getattr(step.target, step.name)
    if step.kind == "enter":
        return stack.enter_context(step.sync())
    if step.kind == "each":
        return list(islice(step.sync(), step.limit))
    return step.sync()


async def _awaited(step: Step, stack: AsyncExitStack) -> Any:
    if step.kind == "aside":
        return await asyncio.wrap_future(_in_thread(step.target))
    if step.kind == "enter":
        return await stack.enter_async_context(step.awaitable())
    if step.kind == "each":
        return await _take(step.awaitable(), step.limit)
    return await step.awaitable()


async def _take(values: AsyncIterator[Any], limit: int | None) -> list[Any]:
    taken: list[Any] = []
    try:
        while limit is None or len(taken) < limit:
            try:
                taken.append(await values.__anext__())
            except StopAsyncIteration:
                break
    finally:
        close = getattr(values, "aclose", None)
        if close is not None:
            await close()
    return taken


def _in_thread(fn: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(fn())
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=work, name="contract-peer", daemon=True).start()
    return future


async def _run(script: Script, style: _Style, note: Callable[..., None]) -> None:
    async with AsyncExitStack() as stack:
        resume: Callable[[], Step] = partial(next, script)
        while True:
            try:
                step = resume()
            except StopIteration:
                return
            try:
                value = await style(step, stack)
            except Warning:
                # An environment that turns warnings into errors has hit upstream.
                raise
            except Exception as exc:
                if step.kind != "aside":
                    note(step.name, "raised", exc)
                resume = partial(script.throw, exc)
            else:
                if step.kind != "aside":
                    # What a context manager gives is a helper of that style's own.
                    seen = None if step.kind == "enter" else value
                    note(step.name, "returned", seen)
                resume = partial(script.send, value)


def play(script: Script, note: Callable[..., None]) -> None:
    """Run a script with the sync methods, in this thread and without a loop.

    `note(name, "returned" | "raised", value)` is called after each step but those
    aside. An exception that the script does not handle is raised.
    """
    _finish(_run(script, _sync, note))


async def aplay(script: Script, note: Callable[..., None]) -> None:
    """Run a script with the twins."""
    await _run(script, _awaited, note)


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("a sync step has awaited")
