"""Where a call goes: which servers it talks to and what it must respect."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

__all__ = ("DEADLINE", "STARTS", "Endpoint", "Expired", "Route")

#: Seconds that a call on an object without an app, and so without settings, may take.
DEADLINE = 10.0
#: Calls that start in one turn of the loop, where there is no setting.
STARTS = 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server: a broker or a result backend.

    Attributes:
        side: `"broker"` or `"backend"`.
        scheme: the scheme of the URL that the user wrote; it selects the driver.
        key: identifies the server; calls to different servers share no thread.
        label: the URL with every password masked.
        target: the Kombu connection or Celery backend.
    """

    side: str
    scheme: str
    key: Hashable
    label: str
    target: Any = field(default=None, compare=False, repr=False)


class Expired(Exception):
    """A deadline passed; the layer that knows the sync twin's exception translates.

    Attributes:
        label: the masked URL.
        seconds: the deadline.
        uncertain: whether a thread had taken the call, so that it may take effect.
        stuck: threads of the lane that hang in abandoned calls.
        limit: threads that the lane may have.
    """

    def __init__(
        self, label: str, seconds: float, uncertain: bool, stuck: int, limit: int
    ) -> None:
        super().__init__(f"{label}: no answer within {seconds:g} s")
        self.label = label
        self.seconds = seconds
        self.uncertain = uncertain
        self.stuck = stuck
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Route:
    """How a call on one object is carried out.

    Attributes:
        endpoints: the servers that it may talk to; the first one names the lane.
        guard: an object that must not be used by two threads at once.
        reentrant: calls that are suspended half-way on the loop need not take turns.
        pin: calls with equal pins run in one and the same thread.
        deadline: seconds, or None.
        threads: the size of the lane.
        starts: calls that may start in one turn of the loop; in threads, a quarter.
        expired: makes the exception for a passed deadline.
        retries_uncertain: whether what may have been carried out is sent again.
        in_flight: commands that a connection lets wait for their replies at once.
        sensitive: run in asgiref's thread-sensitive thread (Django's database).
    """

    endpoints: tuple[Endpoint, ...]
    guard: object | None = None
    reentrant: bool = False
    pin: Hashable | None = None
    deadline: float | None = None
    threads: int = 32
    starts: int = STARTS
    expired: Callable[[Expired], BaseException] = lambda exc: exc
    retries_uncertain: bool = True
    in_flight: int = 512
    sensitive: bool = False

    @property
    def label(self) -> str:
        """The masked URL of the server that names the lane."""
        return self.endpoints[0].label if self.endpoints else "local"
