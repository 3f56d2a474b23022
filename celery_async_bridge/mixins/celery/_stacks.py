"""What Celery keeps per thread or greenlet, made to follow a call or a coroutine.

Upstream keys its task and request stacks by greenlet (or thread), so two coroutines of
one loop would share them. Two remedies: a call that changes thread or greenlet takes
the caller's stacks along (the carrier); in an async body they live in context variables
(`isolated`), which every coroutine has for itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from ...core.carry import register_carrier
from ...core.graft import Seam

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = (
    "app_carrier",
    "carrier",
    "host_loop",
    "hosted",
    "is_isolated",
    "isolated",
    "stack_seams",
)

#: The items of each stack, by the `Local` that upstream would store them in. Values and
#: mapping are never changed but replaced: a coroutine that was started by another one
#: has a copy of the context, and must not see what happens there afterwards.
_stacks: ContextVar[Mapping[Any, tuple[Any, ...]] | None] = ContextVar(
    "celery_async_stacks", default=None
)
_join_blocks: ContextVar[bool | None] = ContextVar("celery_async_join", default=None)
_app: ContextVar[Any] = ContextVar("celery_async_app", default=None)
_host: ContextVar[AbstractEventLoop | None] = ContextVar(
    "celery_async_host", default=None
)


@contextmanager
def hosted(loop: AbstractEventLoop) -> Iterator[None]:
    """Have async bodies and hooks that are called in the block run on `loop`."""
    token = _host.set(loop)
    try:
        yield
    finally:
        _host.reset(token)


def is_isolated() -> bool:
    """Whether the running code has its stacks in the context."""
    return _stacks.get() is not None


def host_loop() -> AbstractEventLoop | None:
    """Return the loop that runs the async bodies of this context, if it is known."""
    loop = _host.get()
    return None if loop is None or loop.is_closed() else loop


def _found_stacks() -> list[tuple[Any, tuple[Any, ...]]]:
    """List the stacks of the running thread or greenlet, with what is on them."""
    state = sys.modules.get("celery._state")
    if state is None:
        return []
    if _stacks.get() is None and not _begun(state._task_stack):
        return []
    tasks = state._task_stack.stack
    if not tasks:
        return []
    found = {id(state._task_stack): (state._task_stack, tuple(tasks))}
    for task in tasks:
        stack = task.request_stack
        if stack is not None and stack:
            found[id(stack)] = (stack, tuple(stack.stack))
    return list(found.values())


def _begun(stack: Any) -> bool:
    """Whether any thread or greenlet has something on a stack, found out cheaply.

    Upstream answers for one that has nothing with an exception, which it catches; every
    call and every message would pay for it.
    """
    # Its fast locals are made otherwise.
    return bool(getattr(getattr(stack, "_local", None), "__storage__", True))


def carrier() -> Callable[[], AbstractContextManager[Any]] | None:
    """Take the stacks of the caller along; None if they are empty or in the context."""
    state = sys.modules.get("celery._state")
    if state is None or _stacks.get() is not None or not _begun(state._task_stack):
        return None
    found = _found_stacks()
    if not found:
        return None

    @contextmanager
    def carried() -> Iterator[None]:
        for stack, items in found:
            for item in items:
                stack.push(item)
        try:
            yield
        finally:
            for stack, items in reversed(found):
                for _ in items:
                    stack.pop()

    return carried


def app_carrier() -> Callable[[], AbstractContextManager[Any]] | None:
    """Take the caller's current app along, which upstream keeps per thread.

    Tracers look a task up in its registry; in another thread they would find an empty
    default app.
    """
    state = sys.modules.get("celery._state")
    app = None if state is None else state._tls.current_app
    if app is None or _app.get() is not None:  # the latter is in the context already
        return None

    @contextmanager
    def carried() -> Iterator[None]:
        token = _app.set(app)
        try:
            yield
        finally:
            _app.reset(token)

    return carried


register_carrier(carrier)
register_carrier(app_carrier, threads_only=True)


@contextmanager
def isolated(
    *,
    fresh: bool = False,
    app: Any = None,
    join_blocks: bool | None = None,
    host: AbstractEventLoop | None = None,
) -> Iterator[None]:
    """Keep the stacks in the context while the block runs.

    Arguments:
        fresh: start with empty stacks, not with the caller's.
        app: what `current_app` is in the block.
        join_blocks: whether `result.get()` is refused in it, as in a task.
        host: the loop that async bodies are handed to from threads.
    """
    seed = {} if fresh else _stacks.get()
    if seed is None:
        seed = {stack._local: items for stack, items in _found_stacks()}
    if join_blocks is None:
        join_blocks = _join_blocks.get()
    if join_blocks is None:
        state = sys.modules.get("celery._state")
        join_blocks = bool(state and state._task_join_will_block)
    tokens: list[tuple[ContextVar[Any], Token[Any]]] = [
        (_stacks, _stacks.set(seed)),
        (_join_blocks, _join_blocks.set(join_blocks)),
    ]
    if app is not None:
        tokens.append((_app, _app.set(app)))
    if host is not None:
        tokens.append((_host, _host.set(host)))
    try:
        yield
    finally:
        for variable, token in reversed(tokens):
            try:
                variable.reset(token)
            except ValueError:  # closed by the collector, in another context
                break


class _View(list[Any]):
    """The stack of a context, as the list that upstream's methods work on."""

    def __init__(self, local: Any, items: tuple[Any, ...]) -> None:
        super().__init__(items)
        self._local = local

    def append(self, item: Any) -> None:
        super().append(item)
        _write(self._local, tuple(self))

    def pop(self, index: Any = -1) -> Any:
        if not self:  # upstream's stacks give None where a list would raise
            return None
        item = super().pop(index)
        _write(self._local, tuple(self))
        return item


def _write(local: Any, items: tuple[Any, ...]) -> None:
    stacks = dict(_stacks.get() or {})
    if items:
        stacks[local] = items
    else:
        stacks.pop(local, None)
    _stacks.set(stacks)


# The seams are on `Local` and not on the stack class that uses it: upstream keeps bound
# methods of its stacks (`push_current_task`, every tracer), which would go on calling
# the functions they were made from.


def _getattr(original: Callable[..., Any]) -> Callable[..., Any]:
    def __getattr__(self: Any, name: str) -> Any:
        if name == "stack":
            stacks = _stacks.get()
            if stacks is not None:
                return _View(self, stacks.get(self, ()))
        return original(self, name)

    return __getattr__


def _setattr(original: Callable[..., Any]) -> Callable[..., Any]:
    def __setattr__(self: Any, name: str, value: Any) -> None:
        if name == "stack" and _stacks.get() is not None:
            _write(self, tuple(value))
        else:
            original(self, name, value)

    return __setattr__


def _release(original: Callable[..., Any]) -> Callable[..., Any]:
    def __release_local__(self: Any) -> None:
        if _stacks.get() is not None:
            _write(self, ())
        else:
            original(self)

    return __release_local__


def _get_join(original: Callable[[], bool]) -> Callable[[], bool]:
    def task_join_will_block() -> bool:
        blocks = _join_blocks.get()
        return original() if blocks is None else blocks

    return task_join_will_block


def _set_join(original: Callable[[bool], None]) -> Callable[[bool], None]:
    def _set_task_join_will_block(blocks: bool) -> None:
        if _join_blocks.get() is None:
            original(blocks)
        else:
            _join_blocks.set(blocks)

    return _set_task_join_will_block


def _thread_local(original: Any) -> Any:
    class ContextTLS:
        """Upstream's thread-local state, with the app of an isolated block first."""

        @property
        def current_app(self) -> Any:
            app = _app.get()
            return original.current_app if app is None else app

        @current_app.setter
        def current_app(self, app: Any) -> None:
            original.current_app = app

        def __getattr__(self, name: str) -> Any:
            return getattr(original, name)

    return ContextTLS()


def stack_seams() -> list[Seam]:
    """Return the rows that put upstream's task state into the context."""
    import celery._state
    import celery.result
    import celery.utils.threads as threads

    why = "coroutines of one loop must not share task and request stacks"
    rows = [
        Seam(threads.Local, "__getattr__", _getattr, "c", why),
        Seam(threads.Local, "__setattr__", _setattr, "c", why),
        Seam(threads.Local, "__release_local__", _release, "c", why),
        Seam(
            celery._state,
            "_tls",
            _thread_local,
            "c",
            "an async body belongs to the app of its worker, not to that of the thread",
        ),
    ]
    # Modules hold the two functions under their own names; one that is imported later
    # takes them from `celery._state`.
    why = "calls that overlap must not restore each other's process-wide flag"
    for name in ("", ".result", ".backends.redis", ".backends.rpc"):
        module = sys.modules.get(f"celery{name or '._state'}")
        if hasattr(module, "task_join_will_block"):
            rows.append(Seam(module, "task_join_will_block", _get_join, "a", why))
    for name in ("._state", ".result", ".worker.components"):
        module = sys.modules.get(f"celery{name}")
        if hasattr(module, "_set_task_join_will_block"):
            rows.append(Seam(module, "_set_task_join_will_block", _set_join, "a", why))
    return rows
