"""A plan: how sends of one shape are written, how far it is proven, and for whom."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..core.deadlines import Deadlines, deadlines_of
from ..core.loops import LoopLocal
from ..core.trampoline import Hand
from .shape import SLOTS, Key
from .under import under_of
from .waits import Turnstile, turnstile_of

if TYPE_CHECKING:
    from .guards import Guard
    from .template import Template

__all__ = (
    "LEARNED",
    "NEW",
    "PATIENCE",
    "READY",
    "REFUSED",
    "SHELF",
    "Bench",
    "Line",
    "Plan",
    "Shelf",
    "shelf_of",
    "states",
)

NEW, LEARNED, READY, REFUSED = "new", "learned", "ready", "refused"

#: The attribute of tasks and apps that holds their plans.
SHELF = "_async_bridge_plans"

#: Plans that one task may have.
SHAPES = 64
#: Seconds that a send waits for another one to learn its shape.
PATIENCE = 0.25
#: Sends of a refused shape until it is looked at again.
AGAIN = 256


_hands = LoopLocal(Hand)


class Line:
    """Where a plan's messages go on one loop, after upstream has declared the queue."""

    __slots__ = (
        "generation",
        "hand",
        "loop",
        "mux",
        "places",
        "replies",
        "reply_to",
        "turnstile",
    )

    def __init__(self, mux: Any, seconds: float, reply_to: str) -> None:
        self.loop = weakref.ref(asyncio.get_running_loop())
        self.mux = weakref.ref(mux)
        self.generation: int = mux.generation
        # Celery names it after the thread, and a loop stays in its thread.
        self.reply_to = reply_to
        self.places: Deadlines = deadlines_of(seconds, "place")
        self.replies: Deadlines = deadlines_of(seconds, "reply")
        self.turnstile: Turnstile = turnstile_of(mux)
        #: Calls the receivers of signals.
        self.hand: Hand = _hands.get()


class Bench:
    """Where the sends of one loop wait until one of them has learned.

    Attributes:
        busy: whether somebody learns.
        waiters: those who wait.
    """

    __slots__ = ("busy", "waiters")

    def __init__(self) -> None:
        self.busy = False
        self.waiters: deque[asyncio.Future[bool]] = deque()

    async def wait(self) -> bool:
        """Wait; False if it takes too long or was in vain."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.wake(1)
            raise

    def wake(self, count: int | None = None, answer: bool = True) -> None:
        """Let so many of those who wait go on."""
        waiters = self.waiters
        while waiters and count != 0:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(answer)
                count = None if count is None else count - 1


class Plan:
    """The plan for one shape of one task.

    Attributes:
        state: how far it is proven: one send has been learned, two agree, or never.
        reason: why it was refused.
        guard: what it rests on.
        template: the message.
        published: the arguments of `Producer.publish` besides body, headers and
            properties.
        ignored: what upstream gave as `ignored` to the result.
        levels: the depth of the texts of arguments.
        sizes: their lengths.
        seconds: the default deadline.
        label: the masked URL of the broker.
        server: what identifies it.
        embed: what Celery adds to the arguments in the body.
        live: each message has parts that only upstream can make.
    """

    __slots__ = (
        "_benches",
        "_line",
        "_lines",
        "app",
        "calls",
        "embed",
        "guard",
        "ignored",
        "key",
        "label",
        "levels",
        "live",
        "name",
        "published",
        "reason",
        "seconds",
        "server",
        "sizes",
        "state",
        "template",
    )

    def __init__(self, key: Key) -> None:
        self.key = key
        self.state = NEW
        self.reason = ""
        self.guard: Guard | None = None
        self.template: Template | None = None
        self.embed: dict[str, Any] = {}
        self.live = any(
            part in SLOTS or (type(part) is tuple and part[0] == "expires")
            for part in key
        )
        self.published: Mapping[str, Any] = {}
        self.ignored: Any = None
        self.levels = 0
        self.sizes: tuple[int, int] = (0, 0)
        self.seconds = 0.0
        self.label = ""
        self.server: Hashable = None
        self.app: Any = None
        self.name = ""
        self.calls = 0
        self._benches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Bench] = (
            weakref.WeakKeyDictionary()
        )
        self._line: Line | None = None
        self._lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = (
            weakref.WeakKeyDictionary()
        )

    def open_line(self, mux: Any) -> None:
        """Note that this loop's connection has what the plan needs."""
        line = self._line = Line(mux, self.seconds, self.app.thread_oid)
        self._lines[asyncio.get_running_loop()] = line

    def line(self, loop: asyncio.AbstractEventLoop) -> Line | None:
        """Return the line of a loop, or None if upstream must open it first."""
        line = self._line
        if line is None or line.loop() is not loop:
            line = self._line = self._lines.get(loop)
            if line is None:
                return None
        mux = line.mux()
        if mux is None or mux.generation != line.generation:
            return None
        return line

    def refuse(self, reason: str) -> None:
        """Leave the shape to upstream's code, for a while."""
        self.state, self.reason, self.calls = REFUSED, reason, 0

    def looks_again(self) -> bool:
        """Whether a refused shape is due for another look."""
        self.calls += 1
        if self.calls < AGAIN:
            return False
        self.state = NEW
        return True

    def bench(self, loop: asyncio.AbstractEventLoop) -> Bench:
        """Return where sends of a loop wait while one of them learns."""
        bench = self._benches.get(loop)
        if bench is None:
            bench = self._benches[loop] = Bench()
        return bench

    @contextmanager
    def learns(self, bench: Bench) -> Iterator[None]:
        """Have the others of this loop wait while one send is watched, but not long."""
        loop = asyncio.get_running_loop()
        bench.busy = True
        state = self.state
        timer = loop.call_later(PATIENCE, bench.wake, None, False)
        try:
            yield
        finally:
            bench.busy = False
            if self.state is LEARNED and state is NEW:
                bench.wake(1)  # it will prove the plan; the others wait for that, too
            else:
                bench.wake(answer=self.state is READY)
            if not bench.waiters:
                timer.cancel()


class Shelf:
    """The plans of one task or app; the shapes that were used last stay."""

    __slots__ = ("plans",)

    def __init__(self) -> None:
        self.plans: dict[Key, Plan] = {}

    def plan(self, key: Key) -> Plan:
        """Return the plan of a shape, made if there is none."""
        plans = self.plans
        plan = plans.get(key)
        if plan is None:
            if len(plans) >= SHAPES:
                plans.pop(next(iter(plans)), None)
            plan = plans[key] = Plan(key)
        return plan

    def replace(self, key: Key) -> Plan:
        """Return a new plan in the place of one that is out of date."""
        self.plans.pop(key, None)
        return self.plan(key)


def shelf_of(owner: Any) -> Shelf:
    """Return the plans of a task or an app."""
    found: Shelf | None = owner.__dict__.get(SHELF)
    if found is None:
        found = owner.__dict__[SHELF] = Shelf()
    return found


def states(owner: Any) -> Iterator[dict[str, str]]:
    """List how far the plans of a task or an app are, and why some were refused."""
    # Not `vars`: a task may be a proxy.
    held = getattr(owner, "__dict__", {})
    for found, where in (
        (held.get(SHELF), ""),
        (getattr(under_of(owner), "__dict__", {}).get(SHELF), "beneath send_task"),
    ):
        for key, plan in [] if found is None else list(found.plans.items()):
            options = ", ".join(
                part if isinstance(part, str) else "=".join(map(str, part[:1]))
                for part in (where, *key)
                if part
            )
            yield {"options": options, "state": plan.state, "reason": plan.reason}
