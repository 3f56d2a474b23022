"""RabbitMQ and the embedded broker do what is hard the same way.

`BRIDGE_TEST_PROGRAMS=5000` runs more programs, `BRIDGE_TEST_SEED=7` other ones; `-s`
shows what they have reached. Unless one of the two is given, programs in which time
passes are left out: a busy server takes its time. What is known to differ: see
`test_same`.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.hard import hard
from tests.differential.tally import tally

if TYPE_CHECKING:
    from tests.differential.form import Program, Step
    from tests.differential.stage import Stage

#: The other half is made by hypothesis.
PROGRAMS = int(os.environ.get("BRIDGE_TEST_PROGRAMS", "300")) // 2
TIMED = not {"BRIDGE_TEST_PROGRAMS", "BRIDGE_TEST_SEED"}.isdisjoint(os.environ)
FIRST = int(os.environ.get("BRIDGE_TEST_SEED", "0")) * 1_000_000

#: A message of a program that ends has not died as often in one way.
ENDLESS = 10

#: What the first 150 programs reach at the least.
FLOOR = {
    "dead: rejected": 25,
    "dead: expired": 35,
    "dead: maxlen": 20,
    "dead: its own time": 25,
    "dead again: rejected": 1,
    "dead in several ways": 4,
    "queue expired": 1,
    "confirm: nacked": 3,
    "ack multiple": 3,
    "nack": 20,
    "nack multiple": 2,
    "nack_requeue": 3,
    "redelivered": 15,
    "out of order": 6,
    "prefetch holds back": 35,
    "single active consumer": 6,
    "by an alternate": 2,
    "by headers": 15,
    "returned": 10,
}


def _run_both(
    server: Stage, embedded: Stage, program: Program
) -> tuple[list[Any], list[Any]]:
    found, expected = embedded.run(*program), server.run(*program)
    # A server that is busy is asked again, slowly; it is right each time.
    for patience in (0.02, 0.05, 0.1):
        if found == expected:
            break
        expected = server.run(*program, patience=patience)
    return expected, found


def _is_endless(record: Any) -> bool:
    """Whether a message has gone round so often that it will for ever."""
    if isinstance(record, dict):
        if record.get("count", ["", 0])[1] > ENDLESS:
            return True
        record = list(record.values())
    return isinstance(record, list) and any(map(_is_endless, record))


def _difference(expected: list[Any], found: list[Any]) -> int:
    pairs = enumerate(zip(expected, found, strict=True))
    return next(number for number, (there, here) in pairs if there != here)


def _shorter(server: Stage, embedded: Stage, program: Program) -> Program:
    """Leave out every step that the difference does not need."""
    timed, steps = program
    number = len(steps) - 1
    while number >= 0:
        less: list[Step] = [*steps[:number], *steps[number + 1 :]]
        expected, found = _run_both(server, embedded, (timed, less))
        if expected != found:
            steps = less[: _difference(expected, found) + 1]
        number = min(number, len(steps)) - 1
    return timed, steps


@pytest.mark.timeout(PROGRAMS + 240)
def test_what_is_hard_is_reached_and_the_same(server: Stage, embedded: Stage) -> None:
    reached: Counter[str] = Counter()
    seeds = (one for one in count(FIRST) if TIMED or not hard(one)[0])
    for number in islice(seeds, PROGRAMS):
        program = hard(number)
        expected, found = _run_both(server, embedded, program)
        if expected != found and _is_endless(expected):
            reached["endless, and not the same"] += 1
        elif expected != found:
            short = _shorter(server, embedded, program)
            fewer = _run_both(server, embedded, short)
            if fewer[0] == fewer[1]:  # not each time: what was seen first is told
                short, fewer = program, (expected, found)
            for step, there, here in zip(short[1], *fewer, strict=True):
                assert here == there, f"seed {number}: at {step} of {short}"
        reached += tally(program[1], expected)
    for what, times in sorted(reached.items()):
        print(f"{what:28}{times:6}")
    short_of = {what: floor for what, floor in FLOOR.items() if reached[what] < floor}
    # What other seeds, and fewer programs, reach is a matter of luck.
    assert FIRST or PROGRAMS < 150 or not short_of, f"only {dict(reached)}"
