"""Canvases: sent whole by upstream's own method, with the same messages."""

from __future__ import annotations

# Type checkers know neither the grafted methods nor the decorator of an untyped app.
# mypy: disable-error-code="attr-defined,untyped-decorator,type-arg"
import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, chunks, group, signature
from celery.exceptions import NotRegistered
from celery.result import AsyncResult, GroupResult

from tests.unit.mixins.celery.conftest import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.mixins.celery.conftest import Desk

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _tasks(desk: Desk) -> tuple[Any, Any]:
    @desk.app.task(name="add", shared=False)
    def add(x: int, y: int = 0) -> int:
        return x + y

    @desk.app.task(name="total", shared=False)
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    return add, total


def _plain(messages: list[dict[str, Any]]) -> list[str]:
    """The messages with every id replaced by its number in order of appearance."""
    seen: dict[str, str] = {}
    return [
        _ID.sub(
            lambda found: seen.setdefault(found[0], f"<{len(seen)}>"), masked(message)
        )
        for message in messages
    ]


def _canvases(desk: Desk) -> dict[str, Callable[[], Any]]:
    add, total = _tasks(desk)
    return {
        "signature": lambda: add.s(1),
        "unregistered": lambda: signature("unheard", (1,), app=desk.app),
        "chain": lambda: chain(add.s(1), add.s(2), add.s(3)),
        "group": lambda: group(add.s(1), add.s(2)),
        "chord": lambda: chord([add.s(1), add.s(2)], total.s()),
        "nested": lambda: chain(add.s(1), group(add.s(2), add.s(3)), total.s()),
        "xmap": lambda: add.map([1, 2]),
        "xstarmap": lambda: add.starmap([(1, 2), (3, 4)]),
        "chunks": lambda: chunks(add.s(), [(1, 2), (3, 4), (5, 6)], 2, app=desk.app),
    }


NAMES = (
    "signature",
    "unregistered",
    "chain",
    "group",
    "chord",
    "nested",
    "xmap",
    "xstarmap",
    "chunks",
)


@pytest.mark.parametrize("name", NAMES)
async def test_the_messages_are_those_of_the_sync_method(desk: Desk, name: str) -> None:
    if name in {"chord", "nested"} and desk.app.conf.result_backend == "rpc://":
        pytest.skip("upstream has no chords on rpc")
    make = _canvases(desk)[name]
    sync = make().apply_async()
    wanted = desk.sent()
    twin = await make().aapply_async(publish_timeout=30)
    assert _plain(desk.sent()) == _plain(wanted)
    assert type(twin) is type(sync)
    assert wanted


async def test_nested_groups_at_once_do_not_starve_each_other(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk("redis", broker_pool_limit=2, async_publish_timeout=30)
    add, total = _tasks(desk)

    def nested() -> Any:
        return group(chord([add.s(1), add.s(2)], total.s()), add.s(3))

    await asyncio.gather(*(nested().aapply_async() for _ in range(10)))
    assert len(desk.sent()) == 30


async def test_options_and_partial_arguments(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("memory")
    add, _ = _tasks(desk)
    await add.s(2).adelay(1)
    await add.s(2).aapply_async((1,), headers={"a": 1}, task_id="mine")
    first, second = desk.sent()
    assert first["body"].startswith("[[1, 2]")
    assert second["headers"]["a"] == 1
    assert second["headers"]["id"] == "mine"


async def test_chain_acall_and_arun(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("redis")
    add, total = _tasks(desk)
    steps = chain(add.s(2), add.s(3))
    called = await steps.acall(1)
    ran = await steps.arun((1,))
    assert isinstance(called, AsyncResult)
    assert isinstance(ran, AsyncResult)
    first, second = desk.sent()
    assert _plain([first]) == _plain([second])
    assert await chain().acall() is None
    body = await chord([add.s(1)], total.s()).arun(group(add.s(1)), total.s(), ())
    assert isinstance(body.parent, GroupResult)


async def test_afreeze_gives_the_result_of_the_later_send(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk("redis")
    add, total = _tasks(desk)
    members = group(add.s(1), add.s(2))
    frozen = await members.afreeze()
    assert isinstance(frozen, GroupResult)
    assert [one.id for one in frozen] == [one.id for one in members.tasks]
    assert (await chain(add.s(1), add.s(2)).afreeze(_id="last")).id == "last"
    assert (await chord([add.s(1)], total.s()).afreeze(_id="body")).id == "body"
    assert desk.sent() == []


async def test_aapply_chunks(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("memory")
    add, _ = _tasks(desk)
    parts = await chunks.aapply_chunks(add.s(), [(1, 1)] * 5, 2, app=desk.app)
    assert len(parts) == 3
    assert len(desk.sent()) == 3


async def test_aapply_runs_the_canvas_here(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("memory")
    add, total = _tasks(desk)

    @desk.app.task(name="double", shared=False)
    async def double(x: int) -> int:
        return 2 * x

    assert (await add.s(1).aapply((1,))).get() == 2
    assert (await chain(add.s(1, 1), double.s(), add.s(1)).aapply()).get() == 5
    assert (await group(add.s(1), double.s(4)).aapply()).get() == [1, 8]
    assert (await chord([add.s(1), double.s(4)], total.s()).aapply()).get() == 9
    assert desk.sent() == []
    with pytest.raises(NotRegistered):
        await desk.app.signature("unheard").aapply()


async def test_an_eager_canvas_runs_here(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("memory", task_always_eager=True)
    add, total = _tasks(desk)

    @desk.app.task(name="double", shared=False)
    async def double(x: int) -> int:
        return 2 * x

    assert (await (add.s(1, 1) | double.s()).adelay()).get() == 4
    assert (await group(add.s(1), double.s(4)).aapply_async()).get() == [1, 8]
    assert (await chord([double.s(4)], total.s()).aapply_async()).get() == 8
    assert (await double.s(4).aapply_async(publish_timeout=30)).get() == 8
    assert desk.sent() == []
