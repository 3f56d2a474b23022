"""What upstream offers, member by member, and what the bridge makes of it.

`surface.csv` has one row for every public member of the classes that users hold: its
twin, or the reason why it has none. The ledger is generated from it; tests compare it
with the installed upstream and with what `install()` adds.
"""

from __future__ import annotations

import csv
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

__all__ = ("DATA", "Member", "public_members", "resolve", "surface")

DATA = Path(__file__).with_name("surface.csv")


@dataclass(frozen=True, slots=True)
class Member:
    """One public member of an upstream class or module.

    Attributes:
        module: the upstream module.
        owner: the class, or "" for the module itself.
        member: the name.
        kind: how the twin is used: "call" (await), "iter" (async for) or "enter"
            (async with); "" where there is none.
        twins: the twin and its aliases.
        reason: why there is no twin.
    """

    module: str
    owner: str
    member: str
    kind: str
    twins: tuple[str, ...]
    reason: str

    @property
    def path(self) -> str:
        """The dotted path of the owner."""
        return f"{self.module}.{self.owner}" if self.owner else self.module

    def __str__(self) -> str:
        return f"{self.path}.{self.member}"


def surface() -> list[Member]:
    """Return all rows, in the order of the file."""
    with DATA.open(encoding="utf-8", newline="") as file:
        return [
            Member(
                row["module"],
                row["owner"],
                row["member"],
                row["kind"],
                tuple(row["twin"].split()),
                row["reason"],
            )
            for row in csv.DictReader(file)
        ]


def resolve(module: str, owner: str) -> Any:
    """Return the class or module of the installed upstream; None if it is older."""
    try:
        found = import_module(module)
    except ImportError:
        return None
    return getattr(found, owner, None) if owner else found


def public_members(owner: Any) -> Iterator[str]:
    """Name what a class or module defines itself and a user may call or read.

    Plain data (strings, numbers, classes of a module) is left out.
    """
    if isinstance(owner, ModuleType):
        for name in getattr(owner, "__all__", ()):
            value = getattr(owner, name)
            if isinstance(value, FunctionType) and value.__module__ == owner.__name__:
                yield name
        return
    for name, value in vars(owner).items():
        if name.startswith("_") or getattr(value, "__bridge__", None) is not None:
            continue
        if (
            isinstance(value, FunctionType | classmethod | staticmethod)
            or inspect.isdatadescriptor(value)
            or type(value).__name__ == "cached_property"
        ):
            yield name
