"""What a transport or backend can do, so that a test asks instead of knowing names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ("CAPABILITIES", "Requirements")

#: Capabilities that the cases ask for.
CAPABILITIES: Mapping[str, str] = {
    "topic": "topic exchanges",
    "fanout": "fanout exchanges",
    "headers_exchange": "headers exchanges",
    "exchange_bind": "bindings between exchanges",
    "unbind": "queues can be unbound",
    "requeue": "rejected messages can go back to their queue",
    "remote_control": "broadcasts reach a queue that was bound before",
    "flow": "`channel.flow`",
    "if_unused": "conditional deletes of exchanges",
    "groups": "group results can be saved",
    "keys": "the backend is a key-value store",
    "incr": "the key-value store counts",
    "expire": "keys can be given a lifetime",
    "order": "messages of one call keep their order",
    "results": "results that anybody can store and read",
    "forget": "a forgotten result is not there any more",
    "round_trips": "results of tasks that ran can be read back",
    "chords": "chords",
}


@dataclass(frozen=True)
class Requirements:
    """What the driver under test lacks, and why.

    Attributes:
        lacking: capability -> the reason that a skipped test shows.
    """

    lacking: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.lacking) - set(CAPABILITIES)
        if unknown:
            raise ValueError(f"unknown capability: {', '.join(sorted(unknown))}")

    def missing(self, needs: Iterable[str]) -> str:
        """Return why a case with these needs cannot run; empty if it can."""
        return "; ".join(
            f"{CAPABILITIES[need]}: {self.lacking[need]}"
            for need in needs
            if need in self.lacking
        )

    def __or__(self, other: Requirements) -> Requirements:
        return Requirements({**self.lacking, **other.lacking})
