from __future__ import annotations

import types
from typing import Any

import pytest

from celery_async_bridge.core.graft import Graft, Journal, Seam, Target, apply, plan


class Meta(type):
    """Answers for names that nobody defines."""

    def __getattr__(cls, name: str) -> str:
        return name


def upstream() -> dict[str, Any]:
    """A small upstream: a base, a subclass, a class that speaks async already."""

    class Base(metaclass=Meta):
        def send(self) -> str:
            return "sync"

        def close(self) -> str:
            return "closed"

    class Child(Base):
        pass

    class Modern(Base):
        async def asend(self) -> str:
            return "upstream's"

    module = types.ModuleType("upstream_module")
    module.existing = 1  # type: ignore[attr-defined]
    return {"Base": Base, "Child": Child, "Modern": Modern, "module": module}


class BaseMixin:
    """A mixin."""

    label: str  # an annotation is no attribute

    def _route(self) -> str:
        return "base"

    async def asend(self) -> str:
        return "base"

    async def aclose(self) -> str:
        return "base"

    async def __aenter__(self) -> BaseMixin:
        return self

    def __repr__(self) -> str:
        return "never grafted"


class ChildMixin:
    async def asend(self) -> str:
        return "child"


class InheritingMixin(BaseMixin):
    async def asend(self) -> str:
        return "inheriting"


def names(grafts: list[Graft], owner: Any) -> set[str]:
    return {graft.name for graft in grafts if graft.owner is owner}


def state(*owners: Any) -> list[dict[str, Any]]:
    return [dict(vars(owner)) for owner in owners]


def test_what_a_mixin_gives() -> None:
    base = upstream()["Base"]
    grafts = plan([Target(base, BaseMixin)])
    assert names(grafts, base) == {"_route", "asend", "aclose", "__aenter__"}
    assert {str(graft) for graft in grafts} >= {f"{Target(base, None).path}.asend"}


def test_it_yields_to_what_upstream_defines() -> None:
    up = upstream()
    grafts = plan([Target(up["Modern"], BaseMixin)])
    assert "asend" not in names(grafts, up["Modern"])
    assert "aclose" in names(grafts, up["Modern"])

    later = type("Later", (up["Modern"],), {})
    assert "asend" not in names(plan([Target(later, BaseMixin)]), later)


def test_a_subclass_gets_the_twin_of_its_own_mixin() -> None:
    up = upstream()
    base, child = up["Base"], up["Child"]
    grafts = plan([Target(base, BaseMixin), Target(child, ChildMixin)])
    assert "asend" in names(grafts, child)
    journal = apply(grafts, [])
    assert vars(child)["asend"] is vars(ChildMixin)["asend"]
    assert child.aclose is base.aclose
    # Planned again while it is in place: our own names do not count as upstream's.
    journal.revert()
    assert "asend" not in vars(child)


def test_a_mixin_may_inherit() -> None:
    up = upstream()
    apply(plan([Target(up["Child"], InheritingMixin)]), [])
    assert vars(up["Child"])["asend"] is vars(InheritingMixin)["asend"]
    assert vars(up["Child"])["aclose"] is vars(BaseMixin)["aclose"]


def test_a_class_that_inherits_our_mixin_may_be_a_target() -> None:
    """An upstream that was patched statically."""
    up = upstream()

    patched: Any = up["Base"].__class__("Patched", (BaseMixin, up["Base"]), {})
    journal = apply(plan([Target(patched, BaseMixin)]), [])
    assert patched.asend is BaseMixin.asend
    journal.revert()
    assert "asend" not in vars(patched)


def test_modules() -> None:
    up = upstream()
    ours = types.ModuleType("ours")
    ours.__dict__.update(
        __all__=("aexisting", "existing", "SomeMixin"),
        aexisting=lambda: 2,
        existing=lambda: 2,
        hidden=3,
        SomeMixin=BaseMixin,
    )
    grafts = plan([Target(up["module"], ours)])
    assert names(grafts, up["module"]) == {"aexisting"}
    before = state(up["module"])
    journal = apply(grafts, [])
    assert up["module"].aexisting() == 2
    assert str(grafts[0]) == "upstream_module.aexisting"
    journal.revert()
    assert state(up["module"]) == before


def wrapped(original: Any) -> Any:
    def send(self: Any) -> str:
        return f"seamed {original(self)}"

    return send


def test_apply_and_revert_restore_everything() -> None:
    up = upstream()
    owners = up["Base"], up["Child"], up["Modern"]
    before = state(*owners)
    order = [list(vars(owner)) for owner in owners]
    grafts = plan([Target(owner, BaseMixin) for owner in owners])
    seam = Seam(up["Base"], "send", wrapped, "a", "a test")
    journal = apply(grafts, [seam])
    assert journal.grafts == grafts
    assert journal.seams == [seam]
    assert up["Child"]().send() == "seamed sync"
    assert str(seam).endswith("Base.send")
    journal.revert()
    assert state(*owners) == before
    assert [list(vars(owner)) for owner in owners] == order
    assert not journal.grafts
    assert not journal.seams
    journal.revert()
    assert state(*owners) == before


def test_two_seams_on_one_name_come_off_in_reverse() -> None:
    base = upstream()["Base"]
    original = vars(base)["send"]
    journal = apply(
        [],
        [Seam(base, "send", wrapped, "a", "1"), Seam(base, "send", wrapped, "a", "2")],
    )
    assert base().send() == "seamed seamed sync"
    journal.revert()
    assert vars(base)["send"] is original


def test_a_seam_gets_the_raw_descriptor() -> None:
    class Owner:
        @staticmethod
        def static() -> int:
            return 1

        @property
        def prop(self) -> int:
            return 1

    got: list[Any] = []

    def make(original: Any) -> Any:
        got.append(original)
        return original

    apply(
        [], [Seam(Owner, name, make, "a", "") for name in ("static", "prop")]
    ).revert()
    assert [type(one) for one in got] == [staticmethod, property]


@pytest.mark.parametrize("kind", ["raises", "missing", "immutable", "interrupt"])
def test_an_error_half_way_leaves_nothing(kind: str) -> None:
    up = upstream()
    owners = up["Base"], up["Child"], up["module"]
    before = state(*owners)

    def fail(original: Any) -> Any:
        raise KeyboardInterrupt if kind == "interrupt" else ZeroDivisionError

    grafts = plan([Target(up["Base"], BaseMixin), Target(up["Child"], ChildMixin)])
    seams = [Seam(up["Base"], "send", wrapped, "a", "")]
    expected: type[BaseException]
    if kind == "immutable":
        grafts.append(Graft(int, "aadd", 1, "int"))
        expected = TypeError
    elif kind == "missing":
        seams.append(Seam(up["Base"], "no_such_name", wrapped, "a", ""))
        expected = AttributeError
    else:
        seams.append(Seam(up["Base"], "close", fail, "a", ""))
        expected = KeyboardInterrupt if kind == "interrupt" else ZeroDivisionError
    with pytest.raises(expected):
        apply(grafts, seams)
    assert state(*owners) == before


def test_a_journal_remembers_what_was_there() -> None:
    class Owner:
        x = 1

    journal = Journal()
    journal.set(Owner, "x", 2)
    journal.set(Owner, "x", 3)
    journal.set(Owner, "y", 4)
    journal.revert()
    assert Owner.x == 1
    assert not hasattr(Owner, "y")


def test_what_was_laid_on_top_since_stays() -> None:
    base = upstream()["Base"]
    journal = apply([], [Seam(base, "send", wrapped, "a", "a test")])
    ours = vars(base)["send"]

    def theirs(self: Any) -> str:
        return f"traced {ours(self)}"

    base.send = theirs
    journal.revert()
    assert vars(base)["send"] is theirs
    assert base().send() == "traced seamed sync"
