"""The examples of messaging print what they say, on every broker."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

import celery_async_bridge
from celery_async_bridge.install import journal
from tests.redis_servers import redis_server

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "messaging"
FILES = sorted(FOLDER.glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def _as_before() -> Iterator[None]:
    was_installed = journal() is not None
    yield
    if not was_installed:
        celery_async_bridge.uninstall()


@pytest.fixture(scope="module")
def own_redis() -> Iterator[str]:
    """A server for these names alone: others may run the same examples."""
    with redis_server() as server:
        yield server.url


@pytest.fixture(
    params=[
        "memory",
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=pytest.mark.amqp),
    ]
)
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    name = {"redis": "own_redis", "amqp": "amqp_url"}[request.param]
    return str(request.getfixturevalue(name))


def load(path: Path) -> Any:
    spec = spec_from_file_location(f"messaging_example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def promised(module: Any) -> str:
    """What the docstring of an example says that it prints."""
    return textwrap.dedent(module.__doc__.partition("Prints:\n")[2]).strip()


def test_all_are_listed() -> None:
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(FILES) > 10
    assert [path.name for path in FILES if f"`{path.name}`" not in listed] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_it_prints_what_it_says(
    path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load(path)
    await asyncio.wait_for(module.main(url), 60)
    assert capsys.readouterr().out.strip() == promised(module)
