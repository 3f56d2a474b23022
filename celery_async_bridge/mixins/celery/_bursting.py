"""Producers that a canvas borrows: its messages leave without a wait between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ...core.burst import Burst, Posting, burst_here, bursting, undisturbed
from ...core.taps import Replay, replay

__all__ = ("at_once", "borrowed", "returned")

#: The attribute of a borrowed producer that names its burst.
_BURST = "_bridge_burst"


def at_once(canvas: Any, call: Callable[[], Any], starts: int) -> Callable[[], Any]:
    """Have the messages of a canvas leave at once, unless somebody would notice.

    Arguments:
        canvas: the canvas.
        call: the sync call that sends it.
        starts: messages that may leave in one turn of the loop.
    """
    from ...plan.pristine import is_upstream

    app = canvas.app
    if app.conf.task_send_sent_event or not is_upstream(app.producer_or_acquire):
        return call
    return bursting(call, starts)


def borrowed(producer: Any, pool: Any) -> None:
    """Have a producer of the loop serve the burst that has borrowed it, if any.

    Arguments:
        producer: the producer.
        pool: where it comes from.
    """
    burst = burst_here()
    if burst is None:
        return

    def publish(*args: Any, **options: Any) -> Any:
        call = partial(type(producer).publish, producer, *args, **options)
        if burst_here() is not burst or not undisturbed():
            return call()
        if len(args) != 1 or _watched():
            burst.settle()
            return call()
        message = _Message(burst, pool, options)
        posting = Posting(message.again)
        with _instead(producer, message.noting(producer, posting)):
            return burst.post(posting, call)

    # On the instance: nobody else has this producer now.
    producer.__dict__["publish"] = publish
    producer.__dict__[_BURST] = burst
    burst.producers.append((producer, pool))


def returned(producer: Any) -> None:
    """Undo what `borrowed` has done."""
    burst: Burst | None = producer.__dict__.pop(_BURST, None)
    if burst is not None:
        del producer.__dict__["publish"]
        burst.producers = [one for one in burst.producers if one[0] is not producer]


def _watched() -> bool:
    """Whether somebody is told when a message is in its queue."""
    from celery.signals import after_task_publish, task_sent

    return bool(after_task_publish.receivers or task_sent.receivers)


class _Message:
    """How a message was published, so that it can be published again."""

    def __init__(self, burst: Burst, pool: Any, options: dict[str, Any]) -> None:
        self._burst = burst
        self._pool = pool
        self._options = options
        self._encoded: tuple[Any, ...] = ()

    def noting(self, producer: Any, posting: Posting) -> Callable[..., Any]:
        """Return `Producer._publish`, which notes what is published."""

        def attempt(*args: Any) -> Any:
            self._encoded = args
            # What an earlier attempt has written does not count.
            posting.leave()
            posting.replies.clear()
            return type(producer)._publish(producer, *args)

        return attempt

    def again(self, failure: BaseException) -> None:
        """Go on as upstream does after a failed first attempt.

        Raises:
            kombu.exceptions.OperationalError: it has failed for good.
        """
        with self._idle() as producer:

            def attempt(*args: Any) -> Any:
                # Its very bytes: the arguments of the task may have changed.
                return type(producer)._publish(producer, *self._encoded)

            token = replay.set(Replay(failure))
            try:
                with (
                    _instead(producer, attempt),
                    producer.connection._reraise_as_library_errors(),
                ):
                    type(producer).publish(producer, "", **self._options)
            except Exception as exc:
                if getattr(exc, "task_id", "") is None:
                    headers = self._options.get("headers") or {}
                    exc.task_id = headers.get("id")  # type: ignore[attr-defined]
                raise
            finally:
                replay.reset(token)

    @contextmanager
    def _idle(self) -> Iterator[Any]:
        """Give a producer that is in no call: one that the burst holds has none."""
        for producer, pool in reversed(self._burst.producers):
            if pool is self._pool:
                yield producer
                return
        producer = self._pool.acquire(block=True)
        try:
            yield producer
        finally:
            producer.release()


@contextmanager
def _instead(producer: Any, attempt: Callable[..., Any]) -> Iterator[None]:
    outer = producer.__dict__.get("_publish")
    producer.__dict__["_publish"] = attempt
    try:
        yield
    finally:
        if outer is None:
            del producer.__dict__["_publish"]
        else:
            producer.__dict__["_publish"] = outer
