"""A twin takes what its sync method takes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celery_async_bridge.install import install, journal, uninstall
from tests.unit import _twins

if TYPE_CHECKING:
    from celery_async_bridge._tools.surface import Member

PLAIN = (type(None), bool, int, float, str, bytes, tuple)
#: `**kwargs` of ours reach the overrides of a driver that takes more.
EXTRA = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Any:
    if not _twins.is_latest():
        pytest.skip("signatures are those of celery and kombu 5.7")
    was_installed = journal() is not None
    install()
    yield
    if not was_installed:
        uninstall()


def _parameters(value: Any, owner: Any) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(_twins.function(value)).parameters.values())
    bound = isinstance(owner, type) and not isinstance(value, staticmethod)
    return parameters[1:] if bound else parameters


def _expected(row: Member, sync: Any, owner: Any, name: str) -> list[inspect.Parameter]:
    if str(row) == "celery.app.amqp.AMQP.send_task_message":
        # A property that returns the function.
        with Celery("parity", broker="memory://", set_as_current=False) as app:
            return list(
                inspect.signature(app.amqp.send_task_message).parameters.values()
            )
    if name.startswith("aset_") and isinstance(sync, property):
        return _parameters(sync.fset, owner)
    return [] if _twins.is_property(sync) else _parameters(sync, owner)


def _is_sentinel(default: Any) -> bool:
    return type(default) is object


def _same_default(sync: Any, ours: Any) -> bool:
    # Ours is a sentinel where upstream's default is an object that cannot be named
    # without importing upstream; it is never passed on.
    if _is_sentinel(ours):
        return not isinstance(sync, PLAIN)
    return bool(sync == ours and type(sync) is type(ours))


def _bridged() -> list[tuple[Member, str]]:
    return [
        (row, name) for row, name in _twins.pairs() if not row.member.startswith("__")
    ]


@pytest.mark.parametrize(("row", "name"), _bridged(), ids=_twins.label)
def test_parameters_are_those_of_the_sync_method(row: Member, name: str) -> None:
    owner = _twins.owner_of(row)
    if owner is None:
        pytest.skip(f"{row.path} needs a package that is not installed")
    sync, twin = _twins.static(owner, row.member), _twins.static(owner, name)
    assert twin is not _twins.MISSING, f"{row.path} has no {name}"
    expected = _expected(row, sync, owner, name)
    actual = _parameters(twin, owner)
    names = {parameter.name for parameter in expected}
    extra = [p for p in actual if p.name not in names]
    assert [p.name for p in extra if p.kind not in EXTRA] == []
    assert [
        p.name for p in extra if p.default is p.empty and p.kind.name == "KEYWORD_ONLY"
    ] == []
    ours = [p for p in actual if p.name in names]
    assert [(p.name, p.kind) for p in ours] == [(p.name, p.kind) for p in expected]
    different = [
        (p.name, p.default, q.default)
        for p, q in zip(expected, ours, strict=True)
        if not _same_default(p.default, q.default)
    ]
    assert different == []


@pytest.mark.parametrize(("row", "name"), _bridged(), ids=_twins.label)
def test_a_classmethod_stays_one(row: Member, name: str) -> None:
    owner = _twins.owner_of(row)
    if owner is None:
        pytest.skip(f"{row.path} needs a package that is not installed")
    sync, twin = _twins.static(owner, row.member), _twins.static(owner, name)
    for kind in (classmethod, staticmethod):
        assert isinstance(twin, kind) == isinstance(sync, kind)
