"""Holding something of the app's pools for the length of an `async with` block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, cast

from ...core.dispatch import perform
from ...core.route import Expired
from ...core.turn import turn_of
from .._twin import Entering, compound
from ..kombu._pooling import polling

if TYPE_CHECKING:
    from ...core.route import Route

__all__ = ("Holding", "holds")

P = ParamSpec("P")

#: Seconds between two looks at an empty pool, at first and at most.
_FIRST, _MOST = 0.001, 0.02


def _is_dry(error: BaseException | None) -> bool:
    """Whether a pool had nothing left; Celery 5.7 wraps what Kombu raises."""
    from kombu.exceptions import LimitExceeded

    return isinstance(error, LimitExceeded) or (
        error is not None and isinstance(error.__cause__, LimitExceeded)
    )


class Holding(Entering):
    """The async form of a context manager that takes from a pool of the app.

    Those who wait hold no thread, and those who give back do not queue behind sends:
    all threads might wait for what they bring.
    """

    def __init__(self, owner: Any, make: Callable[[], Any], *, waits: bool) -> None:
        super().__init__(owner, make)
        self._waits = waits

    async def __aenter__(self) -> Any:
        route: Route = self._owner._bridge_route()
        if not self._waits:
            return await self._attempt(route)
        app = getattr(self._owner, "app", self._owner)
        patience = app.conf.get("broker_pool_acquire_timeout")
        patience = route.deadline if patience is None else patience
        clock = asyncio.get_running_loop().time
        end = None if patience is None else clock() + patience
        turn = turn_of(self._owner, "hold")
        try:
            await turn.acquire(patience)
        except TimeoutError:
            raise self._late(route, patience) from None
        try:
            pause = _FIRST
            while True:
                late = end is not None and clock() >= end
                try:
                    return await self._attempt(route)
                except Exception as exc:
                    if not _is_dry(exc):
                        raise
                    if late:
                        raise self._late(route, patience) from exc
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MOST)
        finally:
            turn.release()

    def _late(self, route: Route, seconds: float | None) -> BaseException:
        return route.expired(Expired(route.label, seconds or 0.0, False, 0, 0))

    async def _attempt(self, route: Route) -> Any:
        def enter() -> Any:
            token = polling.set(True)
            try:
                # Celery 5.6 looks for the pool when the manager is made.
                manager = self._make()
                value = manager.__enter__()
            finally:
                polling.reset(token)
            self._manager = manager
            return value

        return await perform(
            route,
            enter,
            deadline=route.deadline,
            undo=lambda _: self._manager.__exit__(None, None, None),
        )

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        route: Route = self._owner._bridge_route()
        first, *others = route.endpoints
        back = replace(
            route, endpoints=(replace(first, key=("back", first.key)), *others)
        )
        leave = partial(self._manager.__exit__, *exc_info)
        leaving = asyncio.ensure_future(perform(back, leave, deadline=route.deadline))
        # A second cancellation must not keep it from the pool.
        return cast("bool | None", await asyncio.shield(leaving))


def holds(
    *places: str,
) -> Callable[[Callable[P, Any]], Callable[P, Holding]]:
    """Twin of a method that takes from a pool of the app: for `async with`.

    Arguments:
        places: its first parameters, which may say that no pool is needed.
    """

    def decorate(fn: Callable[P, Any]) -> Callable[P, Holding]:
        name = fn.__name__[1:]

        @wraps(fn)
        def twin(self: Any, *args: Any, **kwargs: Any) -> Holding:
            given = {**dict(zip(places, args, strict=False)), **kwargs}
            # One who holds and asks again with what he holds must not wait behind
            # those who wait for him.
            waits = given.get("pool", True) and all(
                given.get(name) is None for name in ("connection", "producer")
            )
            make = partial(getattr(self, name), *args, **kwargs)
            return Holding(self, make, waits=waits)

        return cast("Callable[P, Holding]", compound(name, "enter")(twin))

    return decorate
