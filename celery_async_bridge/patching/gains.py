"""Which file of upstream gains which twins: the plan of `install()`, for source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..core.graft import offered
from ..mixins._twin import kind_of

if TYPE_CHECKING:
    from .reading import Sources

__all__ = ("PACKAGES", "Gain", "gains", "missing", "rows")

#: The distributions that are patched, each with one package of the same name.
PACKAGES = ("amqp", "kombu", "celery")

_TABLES = (
    "celery_async_bridge.mixins.kombu._targets",
    "celery_async_bridge.mixins.celery._targets",
)


@dataclass(frozen=True, slots=True)
class Gain:
    """What one class or module of upstream gets.

    Attributes:
        module: the upstream module.
        owner: the class in it; "" for the module itself.
        source: our module.
        mixin: the class in it; "" for the module itself.
        names: what is taken over, in the mixin's order.
    """

    module: str
    owner: str
    source: str
    mixin: str
    names: tuple[str, ...]

    @property
    def offer(self) -> dict[str, Any]:
        """What our side has to give, by name."""
        return _offer(self.source, self.mixin)

    @property
    def dotted(self) -> str:
        """The dotted name of the owner."""
        return f"{self.module}.{self.owner}" if self.owner else self.module


def _offer(source: str, mixin: str) -> dict[str, Any]:
    found = import_module(source)
    return offered(getattr(found, mixin) if mixin else found)


def rows(package: str) -> Iterator[Gain]:
    """Yield the rows of the tables for a package, each with all that is offered."""
    for table in _TABLES:
        for owner_path, source_path, *_ in import_module(table).TARGETS:
            module, _, owner = owner_path.partition(":")
            source, _, mixin = source_path.partition(":")
            if module.partition(".")[0] == package:
                names = tuple(_offer(source, mixin))
                yield Gain(module, owner, source, mixin, names)


def gains(package: str, sources: Sources) -> list[Gain]:
    """List what the classes of a package gain, in this release of it.

    As for `install()`: no name that upstream has itself, and no twin of a method that
    it does not have.
    """
    found = []
    for row in rows(package):
        if not sources.has(row.module, row.owner):
            continue
        has = sources.names(row.module, row.owner)
        offer = row.offer
        names = tuple(
            name
            for name in row.names
            if name not in has and _sync_is_in(offer[name], has)
        )
        if names:
            found.append(Gain(row.module, row.owner, row.source, row.mixin, names))
    return found


def _sync_is_in(value: Any, has: frozenset[str]) -> bool:
    mark = kind_of(value)
    return mark is None or mark.of in has


def missing(package: str, found: list[Gain]) -> list[str]:
    """Name what this package offers in general and this release does not get."""
    given = {(gain.dotted, name) for gain in found for name in gain.names}
    return [
        f"{row.dotted}.{name}"
        for row in rows(package)
        for name in row.names
        if (row.dotted, name) not in given
    ]
