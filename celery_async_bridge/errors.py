"""Exceptions and warnings of the bridge.

Each deadline error is also the exception that the sync twin raises, so that existing
`except` clauses go on catching it. Importing this module imports kombu and celery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery.exceptions import TimeoutError as CeleryTimeoutError
from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from .core.route import Expired

__all__ = (
    "AsyncBodyError",
    "BackendTimeout",
    "BridgeError",
    "BrokerTimeout",
    "DeliveryUncertain",
    "PublishTimeout",
    "backend_timeout",
    "broker_timeout",
    "publish_timeout",
)


class BridgeError(Exception):
    """Base of the errors that only the bridge raises."""


class BrokerTimeout(OperationalError):
    """The broker did not answer in time.

    Attributes:
        seconds: the deadline that passed.
        uncertain: whether the operation may have taken effect all the same.
    """

    def __init__(self, message: str, seconds: float, uncertain: bool) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.uncertain = uncertain


class PublishTimeout(BrokerTimeout):
    """A message could not be handed to the broker in time.

    Attributes:
        task_id: the id of the task, where one was given or known.
    """

    task_id: str | None = None


class DeliveryUncertain(OperationalError):
    """The connection was lost after the message had been written.

    Raised instead of sending it again where `async_retry_uncertain` is False.

    Attributes:
        task_id: the id of the task, where one was given or known.
        uncertain: True: the message may be in its queue.
    """

    task_id: str | None = None
    uncertain = True


class BackendTimeout(CeleryTimeoutError, OperationalError):
    """The result backend did not answer in time."""


class AsyncBodyError(BridgeError, RuntimeError):
    """An `async def` task cannot be executed here, or its body cannot end like this.

    It was called synchronously where a loop is running, its message has reached a
    worker without an event loop, or a `CancelledError` got out of it.
    """


def _explain(expired: Expired) -> str:
    text = f"no answer from {expired.label} within {expired.seconds:g} s"
    if expired.uncertain:
        text += "; the call had started and may still take effect"
    if expired.stuck > 1:
        text += (
            f"; {expired.stuck} of {expired.limit} threads for this server are stuck: "
            "is it reachable, and does the URL set a connect timeout?"
        )
    return text


def broker_timeout(expired: Expired) -> BrokerTimeout:
    """Translate a passed deadline of a broker call."""
    return BrokerTimeout(_explain(expired), expired.seconds, expired.uncertain)


def publish_timeout(expired: Expired) -> PublishTimeout:
    """Translate a passed deadline of a send."""
    return PublishTimeout(_explain(expired), expired.seconds, expired.uncertain)


def backend_timeout(expired: Expired) -> BackendTimeout:
    """Translate a passed deadline of a result-backend call."""
    return BackendTimeout(_explain(expired))
