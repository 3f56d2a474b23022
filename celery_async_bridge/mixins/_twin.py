"""How a twin reaches its sync method: one decorator per kind of method.

A decorated function is a signature and a docstring. The arguments are handed to the
sync method just as the caller wrote them, so defaults, sentinels and `TypeError` are
those of the installed upstream.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from ..core.dispatch import perform, perform_now, stream, talk
from ..core.route import DEADLINE, STARTS

if TYPE_CHECKING:
    from ..core.route import Route
    from ..core.trampoline import Hand

__all__ = (
    "Entering",
    "Making",
    "Twin",
    "compound",
    "enters",
    "kind_of",
    "leaf",
    "let_go",
    "makes",
    "reads",
    "streams",
    "waits",
)

P = ParamSpec("P")
R = TypeVar("R")
AsyncFn = Callable[P, Coroutine[Any, Any, R]]


@dataclass(frozen=True, slots=True)
class Twin:
    """What a twin stands for: `explain()` and the ledger read it."""

    kind: str
    of: str
    route: str = "_bridge_route"


def kind_of(fn: object) -> Twin | None:
    """Return the mark that a decorator of this module left on a function."""
    fn = getattr(fn, "__func__", fn)
    return getattr(fn, "__bridge__", None)


def _mark(fn: Any, kind: str, of: str, route: str = "_bridge_route") -> Any:
    fn.__bridge__ = Twin(kind, of, route)
    return fn


def compound(
    of: str, kind: str = "compound", route: str = "_bridge_route"
) -> Callable[[R], R]:
    """Mark a twin that is written by hand: `of` names the sync method."""

    def decorate(fn: R) -> R:
        return cast("R", _mark(fn, kind, of, route))

    return decorate


def _argument(fn: Any, via: str) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """Return a function that finds the argument `via` in a call of a twin."""
    names = via.split()
    order = list(inspect.signature(fn).parameters)[1:]
    places = [(name, order.index(name)) for name in names]

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for name, place in places:
            value = kwargs.get(name, args[place] if place < len(args) else None)
            if value is not None:
                return value
        return None

    return find


@overload
def leaf(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncFn[P, R]: ...
@overload
def leaf(
    *,
    of: str = "",
    timeout: str = "",
    unbounded: bool = False,
    route: str = "_bridge_route",
    via: str = "",
    undo: Callable[[Any, Any], object] | None = None,
    hand: Callable[[Any], Hand | None] | None = None,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], AsyncFn[P, R]]: ...
def leaf(
    fn: Any = None,
    /,
    *,
    of: str = "",
    timeout: str = "",
    unbounded: bool = False,
    route: str = "_bridge_route",
    via: str = "",
    undo: Callable[[Any, Any], object] | None = None,
    hand: Callable[[Any], Hand | None] | None = None,
) -> Any:
    """Twin of a method that does I/O and returns.

    Arguments:
        fn: the signature and docstring; left out when there are options.
        of: the sync name, where it is not the twin's without its `a`.
        timeout: our keyword-only parameter that holds the deadline in seconds.
        unbounded: no deadline but the caller's (user code, or retries of its own).
        route: the method of the class that gives the route.
        via: the parameters (by name, first one given wins) that decide the route:
            the route method gets the argument.
        undo: called as `undo(self, value)` when the value came after a cancellation
            or a passed deadline.
        hand: returns what runs a call on this object whose broker is in the process, so
            that nothing is waited for; None where something may be.
    """

    def decorate(fn: Any) -> Any:
        name = of or fn.__name__[1:]
        find = _argument(fn, via)

        @wraps(fn)
        async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
            runs = None if hand is None else hand(self)
            if runs is not None:
                given = kwargs.pop(timeout, None)
                call = partial(getattr(self, name), *args, **kwargs)
                seconds = DEADLINE if given is None else given
                return await perform_now(
                    getattr(self, route), call, runs, seconds, STARTS
                )
            target = find(args, kwargs)
            way: Route = getattr(self, route)(*() if target is None else (target,))
            deadline = None if unbounded else way.deadline
            if timeout:
                given = kwargs.pop(timeout, None)
                deadline = deadline if given is None else given
            call = partial(getattr(self, name), *args, **kwargs)
            give_back = None if undo is None else partial(undo, self)
            return await perform(way, call, deadline=deadline, undo=give_back)

        return _mark(twin, "leaf", name, route)

    return decorate if fn is None else decorate(fn)


@overload
def waits(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncFn[P, R]: ...
@overload
def waits(
    *,
    of: str = "",
    undo: Callable[[Any, Any], object] | None = None,
    bounded: bool = False,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], AsyncFn[P, R]]: ...
def waits(
    fn: Any = None,
    /,
    *,
    of: str = "",
    undo: Callable[[Any, Any], object] | None = None,
    bounded: bool = False,
) -> Any:
    """Twin of a method that waits for events, by its own timeout or for ever.

    Arguments:
        fn: the signature and docstring; left out when there are options.
        of: the sync name, where it is not the twin's without its `a`.
        undo: called as `undo(self, value)` when the value came after a cancellation.
        bounded: the route's deadline holds until the call has begun to wait.
    """

    def decorate(fn: Any) -> Any:
        name = of or fn.__name__[1:]

        @wraps(fn)
        async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = partial(getattr(self, name), *args, **kwargs)
            give_back = None if undo is None else partial(undo, self)
            way: Route = self._bridge_route()
            deadline = way.deadline if bounded else None
            return await talk(way, call, deadline=deadline, undo=give_back)

        return _mark(twin, "wait", name)

    return decorate if fn is None else decorate(fn)


@overload
def streams(fn: Callable[P, AsyncIterator[R]], /) -> Callable[P, AsyncIterator[R]]: ...
@overload
def streams(
    *, of: str = ""
) -> Callable[[Callable[P, AsyncIterator[R]]], Callable[P, AsyncIterator[R]]]: ...
def streams(fn: Any = None, /, *, of: str = "") -> Any:
    """Twin of a generator that waits: an async generator, closed when it is left."""

    def decorate(fn: Any) -> Any:
        name = of or fn.__name__[1:]

        @wraps(fn)
        async def twin(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            make = partial(getattr(self, name), *args, **kwargs)
            values = stream(self._bridge_route(), make)
            try:
                async for value in values:
                    yield value
            finally:
                await values.aclose()

        return _mark(twin, "stream", name)

    return decorate if fn is None else decorate(fn)


@overload
def reads(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncFn[P, R]: ...
@overload
def reads(
    *, of: str = "", route: str = "_bridge_route"
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], AsyncFn[P, R]]: ...
def reads(fn: Any = None, /, *, of: str = "", route: str = "_bridge_route") -> Any:
    """Twin of a property that does I/O: a coroutine method."""

    def decorate(fn: Any) -> Any:
        name = of or fn.__name__[1:]

        @wraps(fn)
        async def twin(self: Any) -> Any:
            way = getattr(self, route)()
            return await perform(
                way, lambda: getattr(self, name), deadline=way.deadline
            )

        return _mark(twin, "read", name, route)

    return decorate if fn is None else decorate(fn)


class Entering:
    """The async form of a sync context manager that does I/O.

    `async with` enters and leaves it; `await` only enters and returns what it gives.
    """

    def __init__(
        self, owner: Any, make: Callable[[], Any], *, unbounded: bool = False
    ) -> None:
        self._owner = owner
        self._make = make
        self._unbounded = unbounded
        self._manager: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Any:
        route = self._owner._bridge_route()

        def enter() -> Any:
            self._manager = self._make()
            return self._manager.__enter__()

        return await perform(
            route,
            enter,
            deadline=None if self._unbounded else route.deadline,
            undo=lambda _: self._manager.__exit__(None, None, None),
        )

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        route = self._owner._bridge_route()
        leave = partial(self._manager.__exit__, *exc_info)
        return cast("bool | None", await perform(route, leave, deadline=route.deadline))


@overload
def enters(fn: Callable[P, Any], /) -> Callable[P, Entering]: ...
@overload
def enters(
    *, of: str = "", unbounded: bool = False
) -> Callable[[Callable[P, Any]], Callable[P, Entering]]: ...
def enters(fn: Any = None, /, *, of: str = "", unbounded: bool = False) -> Any:
    """Twin of a method that returns a context manager: for `async with`.

    Arguments:
        fn: the signature and docstring; left out when there are options.
        of: the sync name, where it is not the twin's without its `a`.
        unbounded: entering has no deadline but the caller's.
    """

    def decorate(fn: Any) -> Any:
        name = of or fn.__name__[1:]

        @wraps(fn)
        def twin(self: Any, *args: Any, **kwargs: Any) -> Entering:
            make = partial(getattr(self, name), *args, **kwargs)
            return Entering(self, make, unbounded=unbounded)

        return _mark(twin, "enter", name)

    return decorate if fn is None else decorate(fn)


def let_go(made: Any) -> None:
    """Close an object that nobody receives, or release it to its pool."""
    # Pooled objects have a `release` of their own, which `close` would bypass.
    (getattr(made, "release", None) or made.close)()


class Making:
    """The async form of a sync call that makes a context manager and does I/O.

    `await` gives the object, `async with` enters it, too, and leaves it at the end. One
    that is made for a caller who has left is closed, or released to its pool.
    """

    def __init__(
        self, owner: Any, make: Callable[[Callable[[Any], Any]], Awaitable[Any]]
    ) -> None:
        self._owner = owner
        self._make = make
        self._made: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._make(lambda made: made).__await__()

    async def __aenter__(self) -> Any:
        def enter(made: Any) -> Any:
            self._made = made
            return made.__enter__()

        return await self._make(enter)

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        # The object knows its own route, unless upstream's class has no twin.
        route: Route = getattr(self._made, "_bridge_route", self._owner._bridge_route)()
        leave = partial(self._made.__exit__, *exc_info)
        return cast("bool | None", await perform(route, leave, deadline=route.deadline))


def makes(
    *, of: str, via: str = ""
) -> Callable[[Callable[P, Any]], Callable[P, Making]]:
    """Twin of a factory whose constructor does I/O: for `await` and `async with`."""

    def decorate(fn: Any) -> Any:
        find = _argument(fn, via)

        @wraps(fn)
        def twin(self: Any, *args: Any, **kwargs: Any) -> Making:
            def make(then: Callable[[Any], Any]) -> Awaitable[Any]:
                target = find(args, kwargs)
                route: Route = self._bridge_route(*() if target is None else (target,))
                build = partial(getattr(self, of), *args, **kwargs)
                return perform(
                    route,
                    lambda: then(build()),
                    deadline=route.deadline,
                    undo=let_go,
                )

            return Making(self, make)

        return _mark(twin, "make", of)

    return decorate
