"""The start gate: order, limit per turn, cancellation, many loops."""

from __future__ import annotations

import asyncio

from celery_async_bridge.core.gate import GOING_ON, gate, go_on, queue_early


async def test_so_many_start_per_turn_in_order() -> None:
    """A burst starts first come, first served, a few in each turn of the loop."""
    started: list[int] = []
    turn = 0
    turns: list[int] = []

    async def call(n: int) -> None:
        await gate(4)
        started.append(n)
        turns.append(turn)

    async def count() -> None:
        nonlocal turn
        while len(started) < 50:
            turn += 1
            await asyncio.sleep(0)

    await asyncio.gather(count(), *(call(n) for n in range(50)))
    assert started == list(range(50))
    assert max(turns.count(one) for one in set(turns)) <= 8
    assert len(set(turns)) >= 6


async def test_a_cancelled_call_gives_its_place_away() -> None:
    """Those behind it still start, and it does not."""
    started: list[int] = []

    async def call(n: int) -> None:
        await gate(1)
        started.append(n)

    tasks = [asyncio.create_task(call(n)) for n in range(10)]
    await asyncio.sleep(0)
    for n in range(3, 10, 2):
        tasks[n].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert set(started) == set(range(10)) - {3, 5, 7, 9}
    await asyncio.wait_for(gate(1), 20)


def test_every_loop_has_its_own_gate() -> None:
    """A loop that ended with callers at its gate holds up no other loop."""

    async def burst() -> None:
        for _ in range(20):
            asyncio.get_running_loop().create_task(gate(1))
        await gate(1)

    for _ in range(5):
        asyncio.run(burst())


async def test_who_comes_to_a_queue_joins_it_before_anything_else() -> None:
    order: list[int] = []

    async def call(number: int) -> None:
        queued = await queue_early(None, 0.0)
        order.append(number)
        if not queued:
            await gate(2)

    assert not await queue_early(None, 0.0)
    starts = [asyncio.ensure_future(gate(2)) for _ in range(6)]
    await asyncio.sleep(0)
    await asyncio.gather(*(call(number) for number in range(10)))
    assert all(start.done() for start in starts)
    assert order == list(range(10))


async def test_who_cannot_start_in_time_is_told_and_starts_never() -> None:
    """By its own deadline, or by that of those before it where it knows none yet."""
    now = asyncio.get_running_loop().time()
    before = [asyncio.ensure_future(gate(1, 60, now)) for _ in range(50)]
    await asyncio.sleep(0)
    calls = [gate(1, 60, now - 120) for _ in range(3)]
    assert await asyncio.gather(*calls) == [False] * 3
    assert await queue_early(None, now - 120)
    assert not all(call.done() for call in before)
    assert all(await asyncio.gather(*before))
    assert await gate(1, 60, now)


async def test_those_who_wake_together_go_on_a_few_per_turn_in_order() -> None:
    order: list[int] = []
    turns: list[int] = []
    turn = 0
    over = asyncio.get_running_loop().create_future()

    async def call(number: int) -> None:
        await asyncio.shield(over)
        await go_on()
        order.append(number)
        turns.append(turn)

    calls = [asyncio.ensure_future(call(number)) for number in range(60)]
    await asyncio.sleep(0)
    over.set_result(None)
    while not all(one.done() for one in calls):
        turn += 1
        await asyncio.sleep(0)
    assert order == list(range(60))
    assert max(turns.count(one) for one in turns) <= 2 * GOING_ON


async def test_going_on_does_not_wait_behind_those_who_start() -> None:
    started: list[int] = []

    async def call(number: int) -> None:
        await gate(1)
        started.append(number)

    calls = [asyncio.ensure_future(call(number)) for number in range(50)]
    await asyncio.sleep(0)
    await go_on()
    assert len(started) < 10
    await asyncio.gather(*calls)
