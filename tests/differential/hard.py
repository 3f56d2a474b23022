"""Programs of what is hard: deaths, limits, priorities, credit, whose turn it is.

`hard(seed)` is always the same program for the same seed. The form is that of
`programs`; the dice are loaded, so that most steps have something to work on.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.differential.form import Program, Step

__all__ = ("hard",)

KEYS = ("a", "a.b", "b")
PATTERNS = ("a", "b", "*", "#", "a.*", "a.#")
VALUES = (1, True, "v", None)


class _Writer:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.timed = self.chance(0.12)
        self.steps: list[Step] = []
        self.tags = 0
        #: Whether channels have limits; their credit comes back a moment after the
        #: message that a server has put back, so that none is put back then.
        self.shared = self.chance(0.2)
        self.full: list[int] = []
        self.busy: list[int] = []

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def add(self, *step: Any) -> None:
        self.steps.append(step)

    def queue(self) -> int:
        return self.dice.randrange(3)

    def channel(self) -> int:
        return self.dice.randrange(3)

    # -- what there is -------------------------------------------------------

    def arguments(self, number: int) -> dict[str, Any]:
        dice, found = self.dice, dict[str, Any]()
        if self.chance(0.75):
            self.dead_letters(number, found)
        if self.chance(0.4):
            found["x-max-length"] = dice.choice((0, 1, 1, 2, 2, 3))
        if self.chance(0.2):
            found["x-max-length-bytes"] = dice.choice((2, 4, 5, 6, 8))
        if self.chance(0.3):
            found["x-overflow"] = dice.choice(
                ("drop-head", "reject-publish", "reject-publish-dlx")
            )
        if self.chance(0.25):
            # A period is far below a step, or far above a program.
            at_once = 1 if self.timed else 0
            found["x-message-ttl"] = dice.choice((at_once, 100000))
        if self.chance(0.35):
            found["x-max-priority"] = dice.choice((1, 2, 5))
        if self.chance(0.25):
            found["x-single-active-consumer"] = True
        if self.timed and self.chance(0.3):
            found["x-expires"] = 2
        return found

    def dead_letters(self, number: int, found: dict[str, Any]) -> None:
        found["x-dead-letter-exchange"] = self.dice.choice(("", "", "", 0, 1, 2))
        if self.chance(0.8):
            # Mostly round in a circle, now and then to itself.
            found["dead-letter-key"] = self.dice.choice(
                ((number + 1) % 3, (number + 1) % 3, number, "a")
            )

    def declare(self) -> None:
        for number in range(3):
            self.add(
                *("declare_queue", 0, number, False, False, self.chance(0.06)),
                self.arguments(number),
            )
        kinds = [self.dice.choice(("direct", "topic", "fanout", "headers"))]
        kinds += ["headers" if self.chance(0.4) else "fanout", "direct"]
        for number, kind in enumerate(kinds):
            # An alternate is one that comes later, or itself.
            other = min(number + 1, 2) if self.chance(0.6) else None
            self.add("declare_exchange", 0, number, kind, False, other)
        for number in range(3):
            for _ in range(self.dice.randrange(1, 3)):
                self.bind(number)

    def bind(self, exchange: int) -> None:
        mode = self.dice.choice(("all", "any", "all-with-x", "any-with-x"))
        arguments = {"x-match": mode, **self.headers()} if self.chance(0.7) else {}
        key = self.dice.choice(PATTERNS)
        if exchange < 2 and self.chance(0.15):
            self.add("bind_exchange", 0, exchange + 1, exchange, key, arguments)
        else:
            self.add("bind_queue", 0, self.queue(), exchange, key, arguments)

    # -- what is sent --------------------------------------------------------

    def headers(self) -> dict[str, Any]:
        names = self.dice.sample(("h", "k", "x-h"), self.dice.randrange(3))
        return {name: self.dice.choice(VALUES[:3]) for name in names}

    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.chance(0.4):
            found["priority"] = self.dice.randrange(7)
        if self.chance(0.25):
            at_once = "1" if self.timed else "0"
            found["expiration"] = self.dice.choice((at_once, at_once, "90000"))
        if self.chance(0.3):
            found["application_headers"] = self.headers()
        return found

    def fill(self) -> None:
        count = self.dice.randrange(2, 6)
        self.full.append(self.queue())
        self.add("burst", self.channel(), self.full[-1], count, self.properties())

    def mixed(self) -> None:
        """Several priorities and periods in one queue."""
        at, number = self.channel(), self.queue()
        self.full.append(number)
        for _ in range(self.dice.randrange(2, 4)):
            self.add("burst", at, number, self.dice.randrange(1, 3), self.properties())

    def confirm(self) -> None:
        number = self.queue()
        for _ in range(self.dice.randrange(1, 4)):
            mandatory = self.chance(0.3)
            self.add("publish_confirmed", "", number, self.properties(), mandatory)

    def route(self) -> None:
        properties = self.properties()
        if self.chance(0.2):
            properties["CC"] = [self.dice.choice(KEYS)]
        if self.chance(0.6):
            properties["application_headers"] = self.headers()
        exchange, key = self.dice.choice((0, 0, 1, 2)), self.dice.choice(KEYS)
        self.add(
            *("publish", self.channel(), exchange, key, properties, self.chance(0.4))
        )

    # -- what is taken, and given back ---------------------------------------

    def listen(self) -> None:
        at, number = self.channel(), self.queue()
        for _ in range(2 if self.chance(0.4) else 1):
            self.busy.append(at)
            if self.chance(0.7):
                self.add("qos", at, self.dice.randrange(1, 4), self.shared)
            priority = self.dice.choice((0, 0, 0, 1, -1))
            no_ack, exclusive = self.chance(0.1), self.chance(0.05)
            self.add("consume", at, number, self.tags, no_ack, exclusive, priority)
            self.tags += 1
            at = self.channel()

    def take(self) -> None:
        at, number = self.channel(), self.dice.choice(self.full or [self.queue()])
        self.busy.append(at)
        for _ in range(self.dice.randrange(2, 4)):
            self.add("get", at, number, False)

    def settle(self) -> None:
        if not self.busy or self.chance(0.4):
            self.take()
        hows = ["ack", "reject", "nack", "nack"]
        hows += [] if self.shared else ["requeue", "nack_requeue"]
        at = self.busy[-1]
        for _ in range(self.dice.randrange(1, 4)):
            index, multiple = self.dice.randrange(5), self.chance(0.6)
            self.add(self.dice.choice(hows), at, index, multiple)

    def circle(self) -> None:
        """Let a message die in one queue after the other."""
        at, number = self.channel(), self.queue()
        for _ in range(self.dice.randrange(3, 7)):
            how = self.dice.choice(("reject", "reject", "nack", "requeue"))
            self.add("pass_on", at, number, how)
            if how != "requeue":
                number = (number + 1) % 3

    def leave(self) -> None:
        at = self.channel()
        acts: list[Step] = [
            ("look", at, 0) if self.shared else ("recover", at),
            ("close_channel", self.channel()),
            ("cancel", self.dice.randrange(max(self.tags, 1))),
            ("cancel", 0),
        ]
        self.add(*self.dice.choice(acts))

    def change(self) -> None:
        number = self.queue()
        acts: list[Step] = [
            ("purge", self.channel(), number),
            ("delete_queue", self.channel(), number, self.chance(0.5), False),
            ("look", self.channel(), number),
            ("declare_queue", 0, number, False, False, False, self.arguments(number)),
        ]
        self.add(*self.dice.choice(acts))

    def write(self) -> Program:
        self.declare()
        acts: tuple[tuple[Callable[[], None], int], ...] = (
            *((self.fill, 4), (self.mixed, 3), (self.confirm, 2), (self.route, 3)),
            *((self.listen, 4), (self.take, 3), (self.settle, 6), (self.circle, 2)),
            *((self.leave, 1), (self.change, 1)),
        )
        self.dice.choice((self.fill, self.mixed, self.listen))()
        chosen = [act for act, _ in acts], [weight for _, weight in acts]
        for act in self.dice.choices(*chosen, k=4 if self.timed else 6):
            act()
        for number in range(3):
            self.add("drain", 0, number)
        return self.timed, self.steps


def hard(seed: int) -> Program:
    """Write the program of a seed."""
    return _Writer(seed).write()
