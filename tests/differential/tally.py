"""What programs have reached, as their records show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.differential.form import Step

__all__ = ("tally",)


#: Steps that may end a queue.
ENDS = ("delete_queue", "cancel", "close_channel")


def tally(steps: list[Step], record: list[Any]) -> Counter[str]:
    """Count what one run has reached.

    Arguments:
        steps: the program.
        record: what `Stage.run` returned for it.
    """
    found: Counter[str] = Counter()
    singles, active = _single(steps), dict[int, set[str]]()
    kinds = {step[2]: step[3] for step in steps if step[0] == "declare_exchange"}
    bound = {(step[2], f"x{step[3]}") for step in steps if step[0] == "bind_queue"}
    leading = {f"x{step[3]}" for step in steps if step[0] == "bind_exchange"}
    alternates = {f"x{number}" for number in kinds} - leading
    before: dict[str, Any] = {}
    for step, (_, (outcome, seen, counts)) in zip(steps, record, strict=True):
        name = step[0]
        _outcome(found, name, step, outcome)
        for tag, shown in seen:
            if shown == "cancelled":
                found["consumer cancelled"] += 1
                continue
            found["delivered"] += 1
            if tag in singles:
                active.setdefault(singles[tag], set()).add(tag)
        if before.keys() - counts.keys() and name not in ENDS:
            found["queue expired"] += 1
        before = counts
        if any(_waits(one) for one in counts.values()):
            found["prefetch holds back"] += 1
        for shown in _shown(name, outcome, seen):
            _message(found, shown, kinds)
            if name == "drain" and (step[2], shown[1]) not in bound:
                found["by an alternate"] += shown[1] in alternates
    found["single active consumer"] += len(active)
    found["single active moves on"] += sum(len(tags) > 1 for tags in active.values())
    return found


def _single(steps: list[Step]) -> dict[str, int]:
    """The consumers of queues that one at a time gets everything of."""
    queues = {
        step[2]
        for step in steps
        if step[0] == "declare_queue" and step[6].get("x-single-active-consumer")
    }
    listening = [step for step in steps if step[0] == "consume" and step[2] in queues]
    return {f"c{step[3]}": step[2] for step in listening}


def _waits(count: Any) -> bool:
    return bool(count != "locked" and count[0][1] > 0 and count[1][1] > 0)


def _outcome(found: Counter[str], name: str, step: Step, outcome: Any) -> None:
    if outcome == "nacked":
        found["confirm: nacked"] += 1
    elif name == "publish" and outcome and isinstance(outcome[0], list):
        found["returned"] += 1
    elif name == "drain" and outcome and isinstance(outcome[0], list):
        bodies = [int(shown[0][1:]) for shown in outcome]
        found["out of order"] += bodies != sorted(bodies)
    elif outcome and isinstance(outcome[0], str) and len(outcome) == 4:
        found[f"error {outcome[1][1]}"] += 1
    if name in ("ack", "nack", "nack_requeue") and outcome != "nothing held":
        many = isinstance(outcome, list) and outcome[0] == "int" and outcome[1] > 1
        found[f"{name} multiple" if many else name] += 1


def _shown(name: str, outcome: Any, seen: list[Any]) -> Iterator[Any]:
    if name == "drain" and outcome and isinstance(outcome[0], list):
        yield from outcome
    elif name in ("get", "pass_on") and isinstance(outcome, list) and len(outcome) == 6:
        yield outcome
    yield from (shown for _, shown in seen if shown != "cancelled")


def _message(found: Counter[str], shown: Any, kinds: dict[int, str]) -> None:
    _, exchange, _, redelivered, _, properties = shown
    found["redelivered"] += redelivered[1]
    if exchange[:1] == "x" and kinds.get(int(exchange[1:])) == "headers":
        found["by headers"] += 1
    deaths = (properties.get("application_headers") or {}).get("x-death") or []
    found["dead in several ways"] += len(deaths) > 1
    for death in deaths:
        reason = death["reason"]
        found[f"dead: {reason}"] += 1
        found[f"dead again: {reason}"] += death["count"][1] > 1
        found["dead: its own time"] += "original-expiration" in death
