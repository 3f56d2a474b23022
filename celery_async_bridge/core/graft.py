"""Plan, apply and revert what the bridge adds to upstream's classes."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

__all__ = ("Graft", "Journal", "Seam", "Target", "apply", "offered", "plan")

_MISSING = object()

#: Dunder methods that a mixin may contribute; all others belong to Python.
_PROTOCOLS = frozenset({"__aenter__", "__aexit__", "__aiter__", "__anext__"})


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream class or module and the mixin or module whose names it gets."""

    owner: Any
    source: Any

    @property
    def path(self) -> str:
        """The dotted name of the owner."""
        if isinstance(self.owner, ModuleType):
            return self.owner.__name__
        return f"{self.owner.__module__}.{self.owner.__qualname__}"


@dataclass(frozen=True, slots=True)
class Graft:
    """One name to add."""

    owner: Any
    name: str
    value: Any
    path: str

    def __str__(self) -> str:
        return f"{self.path}.{self.name}"


@dataclass(frozen=True, slots=True)
class Seam:
    """One upstream attribute that behaves differently, and when it does.

    Attributes:
        owner: the class or module, or one object whose class goes on as ever.
        name: the attribute.
        make: gets the original and returns the replacement.
        scope: the letter of the promise: (a) inside a bridge call, (b) on objects of
            a connection that the bridge opened, or that its worker polls, (c) on
            awaitable task results, (d) an observer that never changes the outcome.
        reason: one sentence.
    """

    owner: Any
    name: str
    make: Callable[[Any], Any]
    scope: str
    reason: str

    def __str__(self) -> str:
        owner = self.owner
        if isinstance(owner, ModuleType):
            return f"{owner.__name__}.{self.name}"
        if not isinstance(owner, type):
            return f"{type(owner).__qualname__}.{self.name} of {owner!r}"
        return f"{owner.__module__}.{owner.__qualname__}.{self.name}"


def offered(source: Any) -> dict[str, Any]:
    """Return what a mixin or a module of twins has to give, by name."""
    if isinstance(source, ModuleType):
        public = {name: getattr(source, name) for name in source.__all__}
        # The classes of such a module are mixins for the classes of the owner.
        return {k: v for k, v in public.items() if not isinstance(v, type)}
    found: dict[str, Any] = {}
    for cls in reversed(source.__mro__[:-1]):
        found.update(
            (name, value)
            for name, value in vars(cls).items()
            if name in _PROTOCOLS or not name.startswith("__")
        )
    return found


def _defines(
    owner: Any, name: str, ours: frozenset[Any], known: Collection[tuple[Any, str]]
) -> bool:
    if isinstance(owner, ModuleType):
        return name in vars(owner)
    # `vars` along the MRO and not `hasattr`: a metaclass or `__getattr__` answers for
    # names that nobody defines.
    return any(
        name in vars(cls) and (cls is owner or (cls, name) not in known)
        for cls in owner.__mro__
        if cls not in ours
    )


def plan(
    targets: Iterable[Target], known: Collection[tuple[Any, str]] = ()
) -> list[Graft]:
    """List the names to add: those that upstream does not define itself.

    A subclass gets its own twin although its base gets one too, when the two come from
    different mixins: its signature differs.

    Arguments:
        targets: what gets names, and from where.
        known: owner and name of what was added before: upstream does not have it.
    """
    targets = list(targets)
    ours = frozenset(
        cls
        for target in targets
        if isinstance(target.source, type)
        for cls in target.source.__mro__[:-1]
    )
    return [
        Graft(target.owner, name, value, target.path)
        for target in targets
        for name, value in offered(target.source).items()
        if not _defines(target.owner, name, ours, known)
    ]


class Journal:
    """What was changed, in order, and how to take it back."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._lock = threading.Lock()
        self.grafts: list[Graft] = []
        self.seams: list[Seam] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute and remember what was there."""
        before = vars(owner).get(name, _MISSING)
        setattr(owner, name, value)
        self._undo.append((owner, name, value, before))

    def extend(self, grafts: Iterable[Graft], seams: Iterable[Seam] = ()) -> None:
        """Add more names and seams, all of them or none."""
        begun, added, sewn = len(self._undo), len(self.grafts), len(self.seams)
        try:
            for graft in grafts:
                self.set(graft.owner, graft.name, graft.value)
                self.grafts.append(graft)
            for seam in seams:
                # It may be inherited; it is then set here, and deleted again.
                original = inspect.getattr_static(seam.owner, seam.name)
                self.set(seam.owner, seam.name, seam.make(original))
                self.seams.append(seam)
        except BaseException:
            self._back_to(begun)
            del self.grafts[added:]
            del self.seams[sewn:]
            raise

    def revert(self) -> None:
        """Restore everything, last change first.

        What somebody has laid over one of ours since stays, with ours beneath it.
        """
        self._back_to(0)
        self.grafts.clear()
        self.seams.clear()

    def _back_to(self, length: int) -> None:
        with self._lock:
            while len(self._undo) > length:
                owner, name, value, before = self._undo.pop()
                if vars(owner).get(name, _MISSING) is not value:
                    continue
                if before is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)


def apply(grafts: Iterable[Graft], seams: Iterable[Seam]) -> Journal:
    """Carry out a plan, completely or not at all."""
    journal = Journal()
    journal.extend(grafts, seams)
    return journal
