"""What was certainly not sent is sent again, as often as its retry policy allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any

import kombu.connection
from kombu.utils.functional import fxrange

from ...core.graft import Seam
from ...core.trampoline import await_, in_trampoline

__all__ = ("unsent_seams",)


def _ensure(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def ensure(
        self: Any,
        obj: Any,
        fun: Callable[..., Any],
        errback: Callable[..., Any] | None = None,
        max_retries: int | None = None,
        interval_start: float = 1,
        interval_step: float = 1,
        interval_max: float = 1,
        on_revive: Callable[..., Any] | None = None,
        retry_errors: tuple[type[Exception], ...] | None = None,
    ) -> Callable[..., Any]:
        intervals = interval_start, interval_step, interval_max
        if not in_trampoline():
            return original(  # type: ignore[no-any-return]
                self,
                obj,
                fun,
                errback,
                max_retries,
                *intervals,
                on_revive,
                retry_errors,
            )
        failures: list[Exception] = []

        @wraps(fun)
        def noted(*args: Any, **kwargs: Any) -> Any:
            try:
                return fun(*args, **kwargs)
            except Exception as exc:
                failures.append(exc)
                raise

        def ensured(*args: Any, **kwargs: Any) -> Any:
            tries = 0
            pauses = fxrange(
                interval_start, interval_max + interval_start, interval_step, True
            )
            while True:
                left = None if max_retries is None else max_retries - tries
                once = original(
                    self, obj, noted, errback, left, *intervals, on_revive, retry_errors
                )
                try:
                    return once(*args, **kwargs)
                except Exception as exc:
                    tries += len(failures)
                    if max_retries is not None and tries > max_retries:
                        raise
                    # Kombu cannot tell what Redis may have got from what it has not,
                    # and gives up at the second loss. In redis-py's sync client hidden
                    # retries mostly keep that from it; here there are none.
                    if not (failures and _is_unsent(exc, failures[-1])):
                        raise
                finally:
                    failures.clear()  # or they keep themselves, and the call, alive
                await_(asyncio.sleep(next(pauses)))
                if self.connected and self._default_channel is not None:
                    obj.revive(self._default_channel)

        return ensured

    return ensure


def _is_unsent(raised: Exception, failure: Exception) -> bool:
    """Whether a call ends because of a failure before which nothing was written."""
    return raised.__cause__ is failure and not getattr(failure, "uncertain", True)


def unsent_seams() -> list[Seam]:
    """Return the row for Kombu's connection."""
    return [
        Seam(
            kombu.connection.Connection,
            "ensure",
            _ensure,
            "a",
            "what was certainly not written is sent again within the retry policy",
        )
    ]
