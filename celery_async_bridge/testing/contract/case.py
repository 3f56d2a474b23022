"""One case of the suite, and how its two runs are compared."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

from .outcome import Outcome, describe, differences, masked
from .script import Script, aplay, play
from .signals import recorded_signals

if TYPE_CHECKING:
    from .requirements import Requirements

__all__ = (
    "Case",
    "Stage",
    "case_table",
    "compare",
    "observe",
    "parametrized",
    "run_name",
)


class Stage(Protocol):
    """What a script acts on; one stage per run."""

    run: str
    settle: float

    def look(self) -> Any:
        """Return what the servers hold."""

    def close(self) -> None:
        """Close the connections of the run."""

    def tidy(self) -> None:
        """Remove what the run has left on the servers."""


S = TypeVar("S", bound=Stage)


@dataclass(frozen=True)
class Case:
    """A named script and the capabilities that it needs."""

    name: str
    script: Callable[[Any], Script]
    needs: tuple[str, ...] = ()


def case_table(
    *tables: Mapping[str, Callable[[Any], Script] | Case],
) -> tuple[Case, ...]:
    """Make cases of tables of scripts."""
    return tuple(
        entry if isinstance(entry, Case) else Case(name, entry)
        for table in tables
        for name, entry in table.items()
    )


def parametrized(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each case."""
    cases = tuple(cases)
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def run_name() -> str:
    """Return a name that no other run has; all are of one length."""
    return f"ct{secrets.token_hex(5)}"


def observe(case: Case, stage: Stage, *, twins: bool) -> dict[str, Any]:
    """Run a case on a stage and return its masked outcome."""
    outcome = Outcome()

    def note(name: str, how: str, value: Any) -> None:
        outcome.steps.append([name, how, describe(value)])
        if stage.settle:
            time.sleep(stage.settle)

    try:
        with recorded_signals() as outcome.signals:
            try:
                if twins:
                    asyncio.run(aplay(case.script(stage), note))
                else:
                    play(case.script(stage), note)
            except Exception as exc:
                if not (outcome.steps and outcome.steps[-1][1] == "raised"):
                    raise
                del exc
        stage.close()
        outcome.wire = stage.look()
        return masked(outcome, {stage.run: "<run>"})
    finally:
        stage.tidy()


def compare(case: Case, make: Callable[[], Stage], able: Requirements) -> None:
    """Assert that a case has the same outcome with the sync methods and the twins."""
    reason = able.missing(case.needs)
    if reason:
        pytest.skip(reason)
    expected = observe(case, make(), twins=False)
    found = observe(case, make(), twins=True)
    assert expected["steps"], "the script did nothing"
    if found != expected:
        lines = "\n".join(differences(expected, found))
        pytest.fail(f"{case.name}: the twins differ\n{lines}", pytrace=False)
