"""What a plan sends is what upstream sends."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from celery import _state
from kombu.exceptions import EncodeError

from celery_async_bridge.plan.plan import READY, shelf_of
from tests.unit.plan.conftest import by_upstream, plain

if TYPE_CHECKING:
    from tests.unit.plan.conftest import Desk

ETA = datetime(2099, 1, 1, tzinfo=timezone.utc)

OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "countdown": {"countdown": 10},
    "eta": {"eta": ETA},
    "expires": {"expires": 60},
    "priority": {"priority": 6},
    "headers": {"headers": {"tenant": "ö", "n": [1, {"a": None}]}},
    "task_id": {"task_id": "id with \"quotes' and %s"},
    "link": {"link": "SIGNATURE"},
    "link_error": {"link_error": "SIGNATURE"},
    "ignore_result": {"ignore_result": True},
    "shadow": {"shadow": 'an "alias" of 100%'},
    "time limits": {"time_limit": 30, "soft_time_limit": 20.5},
    "transient": {"delivery_mode": 1},
    "no retry": {"retry": False},
    "routing key": {"routing_key": "elsewhere"},
    "several": {"countdown": 1, "headers": {"a": 1}, "priority": 3, "expires": 5},
}
ARGUMENTS: list[tuple[Any, Any]] = [
    ((1, "x"), {}),
    ([], {"x": 'q"uote', "y": "%s %d ä \U0001f600 \x00"}),
    (({"a": [1.5, None, True, ()]},), None),
    ((Decimal("1.5"), ETA), {}),
    (("long" * 1000,), {"y": list(range(500))}),
]


@pytest.mark.parametrize("name", OPTIONS)
async def test_the_same_bytes(desk: Desk, name: str) -> None:
    options = {
        key: desk.add.si(5) if value == "SIGNATURE" else value
        for key, value in OPTIONS[name].items()
    }
    await desk.learned(**options)
    for args, kwargs in ARGUMENTS:
        expected = desk.add.apply_async(args, kwargs, **options)
        with by_upstream() as written:
            result = await desk.add.aapply_async(args, kwargs, **options)
        assert not written, "it did not go by plan"
        assert type(result) is type(expected)
        assert result.ignored == expected.ignored
        assert result.backend is expected.backend
        theirs, ours = desk.raw()
        assert plain(ours) == plain(theirs)
        assert json.loads(ours)["headers"]["id"] == result.id


async def test_adelay_and_aapply_async_share_a_plan(desk: Desk) -> None:
    await desk.learned()
    with by_upstream() as written:
        await desk.add.adelay(1, y=2)
        await desk.add.aapply_async((1,), {"y": 2}, None, link=None)
    assert not written
    one, other = desk.sent()
    assert one["body"] == other["body"]


async def test_a_send_by_name(desk: Desk) -> None:
    for name in ("add", "far.away"):
        for _ in (1, 2):
            await desk.app.asend_task(name, (1,), {"y": 2})
        desk.raw()
        expected = desk.app.send_task(name, (1,), {"y": 2}, countdown=None)
        with by_upstream() as written:
            result = await desk.app.asend_task(name, (1,), {"y": 2})
        assert not written
        assert type(result) is type(expected)
        theirs, ours = desk.raw()
        assert plain(ours) == plain(theirs)


async def test_a_signature(desk: Desk) -> None:
    await desk.learned()
    signature = desk.add.s(1)
    expected = signature.delay(y="z")
    with by_upstream() as written:
        result = await signature.adelay(y="z")
        await desk.add.si(1, y=3).aapply_async()
    assert not written
    assert type(result) is type(expected)
    theirs, ours, immutable = desk.raw()
    assert plain(ours) == plain(theirs)
    assert json.loads(base64.b64decode(json.loads(immutable)["body"]))[1] == {"y": 3}


async def test_a_canvas_is_no_signature(desk: Desk) -> None:
    await desk.learned()
    with by_upstream() as written:
        await (desk.add.s(1) | desk.add.s()).aapply_async()
    assert written


async def test_inside_of_a_task_parent_and_root_are_those_of_upstream(
    desk: Desk,
) -> None:
    outer = desk.task("outer")
    _state._task_stack.push(outer)
    outer.push_request(children=[], called_directly=False, id="P", root_id="R")
    try:
        await desk.learned()
        outer.request.children.clear()
        desk.add.delay(1)
        with by_upstream() as written:
            result = await desk.add.adelay(1)
        assert not written
        assert [child.id for child in outer.request.children][1:] == [result.id]
        theirs, ours = desk.raw()
    finally:
        outer.pop_request()
        _state._task_stack.pop()
    assert plain(ours) == plain(theirs)
    headers = json.loads(ours)["headers"]
    assert (headers["parent_id"], headers["root_id"]) == ("P", "R")
    # Outside of it there is a plan of its own.
    await desk.learned()
    await desk.add.adelay(1)
    assert desk.sent()[0]["headers"]["parent_id"] is None


async def test_wrong_arguments_raise_what_upstream_raises(desk: Desk) -> None:
    await desk.learned()
    with pytest.raises(TypeError, match="argument"):
        await desk.add.adelay()
    with pytest.raises(TypeError, match="list or tuple"):
        await desk.add.aapply_async("x")
    with pytest.raises(EncodeError):
        await desk.add.adelay(object())
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(EncodeError):
        await desk.add.adelay(loop)
    assert desk.raw() == []


async def test_a_cold_burst_learns_once_and_sends_all(desk: Desk) -> None:
    with by_upstream() as written:
        results = await asyncio.gather(*[desk.add.adelay(n) for n in range(300)])
    assert len([one for one in written if one[0] == "LPUSH"]) == 2
    sent = desk.sent()
    assert {one["headers"]["id"] for one in sent} == {one.id for one in results}
    assert len(sent) == 300


async def test_a_waiter_of_a_cold_burst_may_leave(desk: Desk) -> None:
    tasks = [asyncio.ensure_future(desk.add.adelay(n)) for n in range(10)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in found) == 2
    assert len(desk.sent()) == 8
    assert desk.plan().state is READY


async def test_more_than_there_is_room_for_arrives_in_order(desk: Desk) -> None:
    await desk.learned()
    await asyncio.gather(*[desk.add.adelay(n) for n in range(1500)])
    texts = [one["headers"]["argsrepr"] for one in desk.sent()]
    assert texts == [f"({n},)" for n in range(1500)]


def test_every_loop_opens_its_own_line(desk: Desk) -> None:
    async def send(count: int) -> int:
        with by_upstream() as written:
            for _ in range(count):
                await desk.add.adelay(1)
        return len([one for one in written if one[0] == "LPUSH"])

    assert asyncio.run(send(3)) == 2
    assert asyncio.run(send(3)) == 1
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(asyncio.run(send(20))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1]
    assert len(desk.raw()) == 66


async def test_cancelled_before_the_write_nothing_is_sent(desk: Desk) -> None:
    await desk.learned()
    task = asyncio.ensure_future(desk.add.adelay(1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await desk.add.adelay(2)
    assert [one["headers"]["argsrepr"] for one in desk.sent()] == ["(2,)"]


async def test_plans_of_a_task_are_bounded(desk: Desk) -> None:
    for number in range(80):
        await desk.add.aapply_async((1,), time_limit=number + 1)
    assert len(shelf_of(desk.add).plans) <= 64


async def test_expires_in_the_past_warns_as_upstream(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = datetime.now(timezone.utc) - timedelta(seconds=5)
    texts: list[str] = []
    # Not `caplog`: a worker of another test may have set up logging.
    logger = logging.getLogger("celery.app.base")
    monkeypatch.setattr(logger, "warning", texts.append)
    await desk.add.aapply_async((1,), expires=late)
    assert "expiration date in the past" in "".join(texts)
    own = desk.task("late", expires=-5)
    for _ in range(4):
        await desk.add.aapply_async((1,), expires=-0.5)
        await own.adelay(1)
    assert len(texts) == 9
