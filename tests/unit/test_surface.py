"""Every public member of upstream has a twin, or a reason for none."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from celery.backends.base import Backend, DisabledBackend

from celery_async_bridge._tools.ledger import additions
from celery_async_bridge._tools.surface import (
    Member,
    public_members,
    resolve,
    surface,
)
from celery_async_bridge.install import install, journal, targets, uninstall
from tests.unit import _twins

ROWS = surface()
PAIRS = _twins.pairs()


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Any:
    was_installed = journal() is not None
    install()
    yield
    if not was_installed:
        uninstall()


def _owner(row: Member) -> Any:
    owner = _twins.owner_of(row)
    if owner is None:
        pytest.skip(f"the installed release has no {row.path}")
    if _twins.static(owner, row.member) is _twins.MISSING and not _twins.is_latest():
        pytest.skip(f"the installed release has no {row}")
    return owner


@pytest.mark.parametrize(("row", "name"), PAIRS, ids=_twins.label)
def test_the_twin_is_there_and_of_its_kind(row: Member, name: str) -> None:
    value = _twins.static(_owner(row), name)
    assert value is not _twins.MISSING, f"{row.path} has no {name}"
    assert row.kind in _twins.kinds(value), f"{row.path}.{name} is no {row.kind!r}"


@pytest.mark.parametrize(("row", "name"), PAIRS, ids=_twins.label)
def test_the_twin_is_documented(row: Member, name: str) -> None:
    fn = _twins.function(_twins.static(_owner(row), name))
    assert fn is not _twins.MISSING
    text = inspect.getdoc(fn) or ""
    first = text.partition("\n\n")[0]
    least = 1 if name.startswith("__") else 3
    assert len(first.split()) >= least, f"{row.path}.{name}: {first!r}"
    assert first.endswith("."), f"{row.path}.{name}: {first!r}"


def test_every_member_without_a_twin_has_a_reason() -> None:
    bare = [str(row) for row in ROWS if not row.twins and len(row.reason) < 5]
    assert bare == []
    both = [str(row) for row in ROWS if row.twins and row.reason]
    assert both == []
    assert all(row.kind in {"call", "iter", "enter"} for row in ROWS if row.twins)


def test_a_member_without_a_twin_really_has_none() -> None:
    listed = {(row.path, name) for row in ROWS for name in row.twins}
    found = []
    for target in targets():
        for row in ROWS:
            name = f"a{row.member}"
            if (
                row.path == target.path
                and not row.twins
                and (row.path, name) not in (listed)
            ):
                value = vars(target.owner).get(name)
                if value is not None and "celery_async_bridge" in str(
                    getattr(_twins.function(value), "__module__", "")
                ):
                    found.append(f"{row.path}.{name}: {row.reason}")
    assert found == []


def test_no_member_is_listed_twice() -> None:
    names = [str(row) for row in ROWS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("module", "owner"),
    sorted({(row.module, row.owner) for row in ROWS}),
    ids=lambda value: value or "module",
)
def test_upstream_has_nothing_that_is_not_listed(module: str, owner: str) -> None:
    found = resolve(module, owner)
    if found is None:
        pytest.skip("the installed release does not have it")
    # What a base class lists need not be listed again: an older release overrides more.
    paths = [
        f"{cls.__module__}.{cls.__name__}" for cls in getattr(found, "__mro__", ())
    ]
    listed = {
        row.member
        for row in ROWS
        if (row.module, row.owner) == (module, owner) or row.path in paths[1:]
    }
    grafted = {
        graft.name for graft in getattr(journal(), "grafts", ()) if graft.owner is found
    }
    assert set(public_members(found)) - grafted - listed == set()


def test_every_listed_member_exists_in_the_release_that_was_read() -> None:
    if not _twins.is_latest():
        pytest.skip("the data describe celery and kombu 5.7")
    gone = [
        str(row)
        for row in ROWS
        if (owner := _twins.owner_of(row)) is not None
        and _twins.static(owner, row.member) is _twins.MISSING
    ]
    assert gone == []


def test_every_target_is_listed() -> None:
    listed = {row.path for row in ROWS}
    extra = {path for path, _, _ in additions()}
    unknown = [t.path for t in targets() if t.path not in listed | extra]
    assert unknown == []


def test_additions_are_documented() -> None:
    bare = [
        f"{path}.{name}"
        for path, name, fn in additions()
        if len((inspect.getdoc(_twins.function(fn)) or "").split()) < 3
    ]
    assert bare == []


def _subclasses(cls: type) -> list[type]:
    subclasses: list[type] = type.__subclasses__(cls)
    return [cls, *(each for sub in subclasses for each in _subclasses(sub))]


def test_backends_inherit_the_twin_of_what_they_override() -> None:
    """Third-party backends and drivers without an async client are covered."""
    from celery.backends.cache import CacheBackend
    from celery.backends.filesystem import FilesystemBackend

    # `DisabledBackend` answers everything with NotImplementedError.
    known = [cls for cls in _subclasses(Backend) if cls is not DisabledBackend]
    assert {CacheBackend, FilesystemBackend} <= set(known)
    twins = {
        row.member: name
        for row, name in PAIRS
        if row.module == "celery.backends.base" and not row.member.startswith("_")
    }
    missing = [
        f"{cls.__name__}.{twins[name]}"
        for cls in known
        for name in vars(cls)
        if name in twins and _twins.static(cls, twins[name]) is _twins.MISSING
    ]
    assert missing == []
