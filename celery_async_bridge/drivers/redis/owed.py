"""The reply to what was written, read now or later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.gate import go_on
from ...core.taps import outcome, retries_uncertain
from ...core.trampoline import await_

if TYPE_CHECKING:
    import asyncio

    from .mux import Mux

__all__ = ("Reply",)


class Reply:
    """What the server says to a command or a pipeline.

    Arguments:
        mux: the connection that it was written to.
        sent: what the connection's `push` returned.
        delivers: whether a message was written, so that doing it twice is noticed.
    """

    __slots__ = ("_delivers", "_mux", "_sent")

    def __init__(self, mux: Mux, sent: asyncio.Future[Any], delivers: bool) -> None:
        self._mux = mux
        #: None when it has failed and somebody has been told.
        self._sent: asyncio.Future[Any] | None = sent
        self._delivers = delivers

    @property
    def failed(self) -> bool | None:
        """Whether it is an error; None while it is not there."""
        sent = self._sent
        if sent is None:
            return True
        return None if not sent.done() else sent.cancelled() or bool(sent.exception())

    def read(self) -> Any:
        """Wait for it and return it; once, if it is an error.

        Raises:
            redis.exceptions.RedisError: the server's answer, or the connection's end.
            DeliveryUncertain: the connection's end, where that must not be retried.
        """
        sent = self._sent
        assert sent is not None
        if self.failed is False:
            return sent.result()
        try:
            return await_(sent)
        except Exception as exc:
            # It has the error, whose frames refer to it: garbage for the collector.
            self._sent = sent = None
            if self._delivers and getattr(exc, "uncertain", False):
                _doubt(exc)
            if hasattr(exc, "uncertain"):
                # The loss of one connection wakes all its calls at once, and each
                # makes Kombu build a new channel.
                await_(go_on())
            raise
        except BaseException:
            # Cancelled, or out of time: the message may be under way.
            if self._delivers and self._mux.has_written(sent):
                _doubt(None)
            raise

    def leave(self) -> None:
        """Do without it; what has not been written is not sent."""
        sent = self._sent
        # To ask is to have seen its error: asyncio would report one that nobody saw.
        if sent is not None and self.failed is None:
            if self._delivers and self._mux.has_written(sent):
                _doubt(None)
            sent.cancel()


def _doubt(exc: Exception | None) -> None:
    """Note that a message may have been delivered."""
    known = outcome.get()
    if known is not None:
        known.uncertain = True
    if exc is not None and not retries_uncertain.get():
        from ...errors import DeliveryUncertain

        raise DeliveryUncertain(str(exc)) from exc
