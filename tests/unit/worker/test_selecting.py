"""The pool by its names, wherever Celery takes the name of a pool."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined"
# mypy: allow-untyped-calls

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from celery import _state, concurrency
from celery.exceptions import ImproperlyConfigured

from celery_async_bridge.install import install, uninstall
from celery_async_bridge.worker.pool import TaskPool
from tests.unit._memory import memory_app

ROOT = Path(__file__).parents[3]
#: Loads what the entry point names, also where the package is not installed.
CELERY = (
    "import celery_async_bridge.cli.commands, sys; from celery.__main__ import main; "
    "sys.exit(main())"
)


@pytest.mark.parametrize("name", ["asyncio", "async-bridge"])
def test_names(name: str) -> None:
    assert concurrency.get_implementation(name) is TaskPool
    assert name in concurrency.get_available_pool_names()
    assert name not in concurrency.ALIASES


def test_other_pools_are_found_as_before() -> None:
    for name in ("solo", "threads"):
        path = concurrency.ALIASES[name]
        found: Any = concurrency.get_implementation(name)
        assert f"{found.__module__}:{found.__name__}" == path
    assert concurrency.get_implementation(TaskPool) is TaskPool


def test_uninstall_takes_the_names_away() -> None:
    uninstall()
    try:
        found: Any = concurrency.get_implementation("asyncio")
        assert found is sys.modules["asyncio"]
        assert "asyncio" not in concurrency.get_available_pool_names()
    finally:
        install()


def test_a_pool_of_upstream_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        concurrency.ALIASES, "asyncio", "celery.concurrency.solo:TaskPool"
    )
    from celery.concurrency.solo import TaskPool as Solo

    assert concurrency.get_implementation("asyncio") is Solo
    assert concurrency.get_implementation("async-bridge") is TaskPool


def test_worker_of_an_app(unique: str) -> None:
    app = memory_app(unique, worker_pool="asyncio")
    try:
        assert app.WorkController(concurrency=1).pool_cls is TaskPool
        assert app.WorkController(pool="async-bridge").pool_cls is TaskPool
    finally:
        # Upstream's workers say so of the whole process.
        _state._set_task_join_will_block(False)


def test_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CELERY, "worker", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert "asyncio|async-bridge" in "".join(done.stdout.split())


def test_the_entry_point_names_a_command() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (path,) = project["entry-points"]["celery.commands"].values()
    from click.testing import CliRunner
    from kombu.utils.imports import symbol_by_name

    before = dict(concurrency.ALIASES)
    try:
        command = symbol_by_name(path)
        assert isinstance(command, click.Command)
        shown = CliRunner().invoke(command, []).output
    finally:
        concurrency.ALIASES.clear()
        concurrency.ALIASES.update(before)
    assert "-P asyncio: celery_async_bridge.worker.pool:TaskPool" in shown


@pytest.mark.parametrize("option", ["maxtasksperchild", "max_memory_per_child"])
def test_options_for_child_processes_are_refused(unique: str, option: str) -> None:
    app = memory_app(unique)
    options: dict[str, Any] = {option: 10}
    with pytest.raises(ImproperlyConfigured, match=r"-per-child 0.*prefork"):
        TaskPool(2, app=app, **options)
    options[option] = 0
    TaskPool(2, app=app, **options)


def test_nothing_without_the_bridge(
    unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = memory_app(unique)
    uninstall()
    monkeypatch.setenv("CELERY_ASYNC_BRIDGE", "0")
    try:
        with pytest.raises(ImproperlyConfigured, match="CELERY_ASYNC_BRIDGE=0"):
            TaskPool(2, app=app)
    finally:
        monkeypatch.undo()
        install()
