"""Importing the package costs nothing and changes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import celery_async_bridge

ROOT = Path(__file__).parents[2]


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()


def test_import_loads_no_upstream_and_no_client() -> None:
    heavy = ("celery", "kombu", "redis", "greenlet", "asgiref", "asyncio", "django")
    code = (
        "import sys, celery_async_bridge as b; b.install, b.explain, b.lifespan;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    assert _python(code) == "[]"


def test_mixins_load_no_upstream() -> None:
    code = (
        "import sys, pkgutil, importlib;"
        "import celery_async_bridge.mixins as m;"
        "[importlib.import_module(i.name) for i in"
        " pkgutil.walk_packages(m.__path__, m.__name__ + '.')];"
        "print([name for name in ('celery', 'kombu', 'redis') if name in sys.modules])"
    )
    assert _python(code) == "[]"


@pytest.mark.parametrize("name", ["install", "explain", "lifespan"])
def test_a_name_is_the_function_and_never_the_submodule(name: str) -> None:
    code = (
        f"import celery_async_bridge.{name}, celery_async_bridge as b;"
        f"import celery_async_bridge.auto;"
        f"print(type(b.{name}).__name__)"
    )
    assert _python(code) == "function"


def test_everything_in_all_is_there() -> None:
    for name in celery_async_bridge.__all__:
        assert getattr(celery_async_bridge, name), name
        assert name in dir(celery_async_bridge)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = celery_async_bridge.nothing


def test_the_version_is_that_of_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{celery_async_bridge.__version__}"\n' in project


async def test_lifespan_closes_what_belongs_to_the_loop() -> None:
    from celery_async_bridge.core.loops import LoopLocal

    closed: list[str] = []
    resource = LoopLocal(lambda: "value", closed.append)
    async with celery_async_bridge.lifespan():
        assert resource.get() == "value"
        assert closed == []
    assert closed == ["value"]


async def test_lifespan_closes_after_an_error() -> None:
    from celery_async_bridge.core.loops import LoopLocal

    closed: list[str] = []
    resource = LoopLocal(lambda: "value", closed.append)

    async def fail() -> None:
        async with celery_async_bridge.lifespan(object()):
            assert resource.get() == "value"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert closed == ["value"]


async def test_aclose_without_anything_open() -> None:
    await celery_async_bridge.aclose()
    await celery_async_bridge.aclose()
