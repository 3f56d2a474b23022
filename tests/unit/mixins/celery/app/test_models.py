"""Async tasks with `pydantic=True`."""

# mypy: disable-error-code="no-any-unimported"

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit._memory import memory_app

pytestmark = pytest.mark.usefixtures("native")

pydantic: Any = pytest.importorskip("pydantic", reason="pydantic is not installed")
Point: Any = pydantic.create_model("Point", x=(int, ...), y=(int, ...))


def body(point: Point) -> Point:
    return Point(x=point.y, y=point.x)


async def abody(point: Point) -> Point:
    await asyncio.sleep(0)
    return body(point)


async def maybe(point: Point) -> Point | None:
    return None


@pytest.fixture
def app(unique: str) -> Any:
    return memory_app(unique, task_always_eager=True)


@pytest.mark.parametrize("fn", [body, abody])
async def test_models_go_in_and_come_out(app: Any, fn: Any) -> None:
    task = app.task(fn, name=fn.__name__, pydantic=True)
    result = await task.adelay({"x": 1, "y": 2})
    assert await result.aget() == {"x": 2, "y": 1}


async def test_what_is_no_model_stays(app: Any) -> None:
    task = app.task(maybe, name="maybe", pydantic=True)
    assert await (await task.adelay({"x": 1, "y": 2})).aget() is None


@pytest.mark.parametrize("fn", [body, abody])
async def test_arguments_are_validated(app: Any, fn: Any) -> None:
    task = app.task(fn, name=fn.__name__, pydantic=True)
    with pytest.raises(pydantic.ValidationError):
        await (await task.adelay({"x": "no"})).aget()
