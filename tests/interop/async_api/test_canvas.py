"""Every canvas that the twins send runs as if the sync call had sent it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import canvas
from celery.exceptions import ChordError

from tests.interop.async_api.compare import TIMEOUT, awaited, both, in_box
from tests.sweep import ignore_unclosed

pytestmark = ignore_unclosed

#: Without their types, which do not know the twins.
chain: Any = canvas.chain
chord: Any = canvas.chord
group: Any = canvas.group
StampingVisitor: Any = canvas.StampingVisitor  # type: ignore[attr-defined]

CANVASES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "chain": (lambda t: chain(t.add.s(1, 2), t.add.s(3), t.add.s(4)), 10),
    "pipe": (lambda t: t.add.s(1, 2) | t.add.s(3), 6),
    "chain-of-one": (lambda t: chain(t.add.s(1, 2)), 3),
    "chain-of-chains": (
        lambda t: chain(chain(t.add.s(1, 1)), chain(t.add.s(2), t.add.s(3))),
        7,
    ),
    "immutable": (lambda t: chain(t.add.s(1, 1), t.add.si(5, 5), t.add.s(1)), 11),
    "group": (lambda t: group(t.add.s(n, n) for n in range(4)), [0, 2, 4, 6]),
    "group-of-none": (lambda t: group([]), []),
    "nested-groups": (
        lambda t: group(t.add.s(1, 1), group(t.add.s(2, 2), group(t.add.s(3, 3)))),
        [2, 4, 6],
    ),
    "chain-in-group": (
        lambda t: group(chain(t.add.s(1, 1), t.add.s(1)), t.add.s(5, 5)),
        [3, 10],
    ),
    "chain-to-group": (
        lambda t: chain(t.add.s(1, 1), group(t.add.s(1), t.add.s(2))),
        [3, 4],
    ),
    "group-in-chain": (
        lambda t: chain(t.add.s(1, 1), group(t.add.s(1), t.add.s(2)), t.total.s()),
        7,
    ),
    "group-after-group": (
        lambda t: chain(
            group(t.identity.s(1), t.identity.s(2)),
            group(t.total.s(), t.total.s()),
            t.total.s(),
        ),
        6,
    ),
    "chord": (lambda t: chord([t.add.s(n, n) for n in range(5)], t.total.s()), 20),
    "chord-by-pipe": (lambda t: group(t.add.s(n, n) for n in [1, 2]) | t.total.s(), 6),
    "chord-of-none": (lambda t: chord([], t.total.s()), 0),
    "chord-of-one": (lambda t: chord([t.add.s(1, 1)], t.total.s()), 2),
    "chord-of-many": (
        lambda t: chord((t.identity.s(n) for n in range(60)), t.total.s()),
        1770,
    ),
    "chord-in-order": (
        lambda t: chord(
            [t.nap.s(0.3, 1), t.nap.s(0, 2), t.nap.s(0.1, 3)], t.identity.s()
        ),
        [1, 2, 3],
    ),
    "chord-of-chords": (
        lambda t: chord(
            [chord([t.add.s(n, n), t.add.s(1, 1)], t.total.s()) for n in range(3)],
            t.total.s(),
        ),
        12,
    ),
    "chord-of-chains": (
        lambda t: chord(
            [chain(t.add.s(1, 1), t.add.s(1)), chain(t.add.s(2, 2), t.add.s(2))],
            t.total.s(),
        ),
        9,
    ),
    "chord-to-group": (
        lambda t: chord(
            [t.add.s(1, 1), t.add.s(2, 2)], group(t.total.s(), t.total.s())
        ),
        [6, 6],
    ),
    "chord-to-chain": (
        lambda t: chord([t.add.s(1, 1), t.add.s(2, 2)], t.total.s() | t.add.s(1)),
        7,
    ),
    "chord-in-chain": (
        lambda t: chain(
            t.add.s(1, 1), chord([t.add.s(1), t.add.s(2)], t.total.s()), t.add.s(1)
        ),
        8,
    ),
    "chords-in-chain": (
        lambda t: chain(
            chord([t.identity.s(1), t.identity.s(2)], t.total.s()),
            chord([t.add.s(1), t.add.s(2)], t.total.s()),
            chord([t.add.s(1), t.add.s(2)], t.total.s()),
        ),
        21,
    ),
    "group-in-chord": (
        lambda t: chord(
            [group(t.add.s(1, 1), t.add.s(2, 2)), t.add.s(3, 3)], t.total.s()
        ),
        12,
    ),
    "group-in-chain-in-group-in-chain": (
        lambda t: chain(
            t.add.si(1, 0),
            group(
                t.add.si(1, 100),
                chain(t.add.si(1, 200), group(t.add.si(1, 10), t.add.si(1, 20))),
            ),
        ),
        [101, [11, 21]],
    ),
    "xmap": (lambda t: t.total.map([[1, 2], [3, 4]]), [3, 7]),
    "xstarmap": (lambda t: t.add.starmap([(1, 2), (3, 4)]), [3, 7]),
    "xstarmap-in-chain": (
        lambda t: chain(t.add.starmap([(1, 2), (3, 4)]), t.total.s()),
        10,
    ),
    "chunks": (
        lambda t: t.add.chunks([(n, n) for n in range(5)], 2),
        [[0, 2], [4, 6], [8]],
    ),
    "chunks-as-group": (
        lambda t: t.add.chunks([(n, n) for n in range(3)], 2).group() | t.identity.s(),
        [[0, 2], [4]],
    ),
    "replaced": (lambda t: chain(t.replaced.s(1, 2), t.add.s(10)), 13),
    "replaced-twice": (lambda t: chain(t.twice_replaced.s(2), t.add.s(1)), 5),
    "replaced-by-chain": (
        lambda t: chain(t.identity.s(1), t.replaced_by_chain.s(2), t.add.s(1000)),
        1103,
    ),
    "replaced-by-group": (
        lambda t: chain(t.replaced_by_group.s([1, 2, 3], 10), t.total.s()),
        36,
    ),
    "replaced-in-group": (
        lambda t: group(t.replaced.s(1, 2), t.replaced_by_chain.s(1, 2), t.add.s(0, 0)),
        [3, 103, 0],
    ),
    "replaced-in-chord": (
        lambda t: chord([t.replaced.s(1, 2), t.replaced_by_chain.s(3, 4)], t.total.s()),
        110,
    ),
    "replaced-body": (
        lambda t: chord([t.add.s(1, 1), t.add.s(2, 2)], t.replaced_by_group.s(5)),
        [7, 9],
    ),
    "replaced-in-chords-in-chord": (
        lambda t: chord(
            [
                chord([t.add.s(1, 2), t.replaced.s(3, 4)], t.replaced_by_group.s(5))
                | t.total.s(),
                chord([t.replaced.s(6, 7), t.add.s(0, 0)], t.replaced_by_group.s(8))
                | t.total.s(),
            ],
            t.replaced_by_group.s(9),
        ),
        [29, 38],
    ),
}


@pytest.mark.parametrize("name", CANVASES)
async def test_canvas(t: Any, name: str) -> None:
    build, value = CANVASES[name]
    outcome = await both(lambda: build(t))
    assert outcome["value"] == value


@pytest.mark.parametrize(
    "name", ["chain-of-chains", "group-in-chain", "chord-of-chords", "chord-to-group"]
)
async def test_canvas_that_came_as_json(app: Any, t: Any, name: str) -> None:
    build, value = CANVASES[name]
    text = json.dumps(build(t))
    outcome = await both(lambda: app.signature(json.loads(text)))
    assert outcome["value"] == value


async def test_task_joins_its_chord(t: Any) -> None:
    ours = await awaited(group([t.joins_chord.s([1, 2, 3], 4)]) | t.identity.s())
    # In what order, upstream leaves open.
    assert sorted(ours["value"]) == [0, 5, 6, 7]


async def test_arguments_and_options_of_the_call(t: Any) -> None:
    plus = t.plus.s
    assert (await both(lambda: plus(1), (2,), {"z": 3}))["value"] == 6
    pair = await both(lambda: group(plus(1), plus(2)), (4,), {"z": 1})
    assert pair["value"] == [6, 7]
    led = await both(lambda: chain(plus(1), plus(1)), (4,), {"z": 1})
    assert led["value"] == 7
    body = await both(lambda: group(plus(1), plus(2)) | t.total.s(), (4,), {"z": 1})
    assert body["value"] == 13
    later = await both(lambda: chain(plus(1, 1), plus(1)), countdown=0.1)
    assert later["value"] == 3


async def test_other_ways_to_send(t: Any) -> None:
    called = await chain(t.add.s(1), t.add.s(2)).acall(3)
    assert await called.aget(timeout=TIMEOUT) == 6
    delayed = await chord([t.add.s(1), t.add.s(2)], t.total.s()).adelay(1)
    assert await delayed.aget(timeout=TIMEOUT) == 5
    assert await (t.add.s(1, 2) | t.add.s(3)).aresult() == 6
    cloned = t.add.s(1).clone((2,)).set(countdown=0.05)
    assert await (await cloned.adelay()).aget(timeout=TIMEOUT) == 3


async def test_root_and_parents(t: Any) -> None:
    family, result = t.family, None
    result = await chain(family.si(), group(family.si(), family.si())).aapply_async()
    first = result.parent
    found = await result.aget(timeout=TIMEOUT)
    assert await first.aget(timeout=TIMEOUT) == {"root": first.id, "parent": None}
    assert found == [{"root": first.id, "parent": first.id}] * 2
    body = await chord([family.si(), family.si()], family.si()).aapply_async()
    await body.aget(timeout=TIMEOUT)
    members = [await one.aget(timeout=TIMEOUT) for one in body.parent.results]
    assert [one["parent"] for one in members] == [None, None]
    assert [one["root"] for one in members] == [one.id for one in body.parent.results]


async def test_ids_and_results_are_those_of_the_frozen_canvas(t: Any) -> None:
    sig = chain(t.add.s(1, 1), group(t.add.s(1), t.add.s(2)), t.total.s())
    frozen = sig.freeze()
    result = await sig.aapply_async()
    assert result.id == frozen.id
    assert await frozen.aget(timeout=TIMEOUT) == 7


async def test_links_are_called(app: Any, t: Any, unique: str) -> None:
    record = t.record.s(key=unique)
    result = await t.add.aapply_async((1, 1), link=[record, t.add.s(5) | record])
    assert await result.aget(timeout=TIMEOUT) == 2
    on_group = group(t.add.s(2, 2), t.add.s(3, 3))
    on_group.link(record)
    await on_group.aapply_async()
    on_body = chord([t.add.s(1, 1), t.add.s(2, 2)], t.total.s())
    await on_body.aapply_async(link=t.add.s(100) | record)
    on_chain = chain(t.add.s(1, 1), t.add.s(10))
    await on_chain.aapply_async(link=t.add.s(100) | record)
    found = await in_box(app, unique, 5)
    # A group calls once, without a value.
    assert sorted(found) == [[], [2], [7], [106], [112]]


FAILURES: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "task": (lambda t: t.fail.s("boo"), ValueError, "boo"),
    "first-of-chain": (
        lambda t: chain(t.fail.s("first"), t.add.s(1), t.add.s(2)),
        ValueError,
        "first",
    ),
    "last-of-chain": (
        lambda t: chain(t.add.s(1, 1), t.fail.si("last")),
        ValueError,
        "last",
    ),
    "in-group": (lambda t: group(t.add.s(1, 1), t.fail.s("one")), ValueError, "one"),
    "chord-header": (
        lambda t: chord([t.add.s(1, 1), t.fail.s("head")], t.total.s()),
        ChordError,
        "Dependency ID raised ValueError('head')",
    ),
    "chord-body": (
        lambda t: chord([t.add.s(1, 1)], t.fail.si("body")),
        ValueError,
        "body",
    ),
    "chain-in-header": (
        lambda t: chord(
            [chain(t.fail.s("in"), t.add.s(1)), t.add.s(1, 1)], t.total.s()
        ),
        ChordError,
        "Dependency ID raised ValueError('in')",
    ),
    "chord-in-header": (
        lambda t: chord(
            [chord([t.fail.s("deep"), t.add.s(1, 1)], t.total.s()), t.add.s(1, 1)],
            t.total.s(),
        ),
        ChordError,
        "Dependency ID raised ",
    ),
    "group-body-after-header": (
        lambda t: chord([t.fail.s("head")], group(t.total.s(), t.identity.s())),
        ValueError,
        "head",
    ),
    "chord-in-chain": (
        lambda t: chain(chord([t.fail.s("head")], t.total.s()), t.add.s(1)),
        ChordError,
        "Dependency ID raised ValueError('head')",
    ),
    "replaced": (lambda t: t.replaced_by_failure.s("new"), ValueError, "new"),
    "replaced-in-chord": (
        lambda t: chord([t.replaced_by_failure.s("new"), t.add.s(1, 1)], t.total.s()),
        ChordError,
        "Dependency ID raised ValueError('new')",
    ),
    "xmap": (lambda t: t.fail.map(["mapped"]), ValueError, "mapped"),
}


#: Upstream fails the inner body only, so the outer one is never ready. Elsewhere, who
#: follows gets the header's error or the body's, whichever comes first.
FOLLOWED = {"chord-in-header"}


@pytest.mark.parametrize("name", FAILURES)
async def test_failure_in_canvas(t: Any, name: str) -> None:
    build, error, text = FAILURES[name]
    outcome = await both(lambda: build(t), follow=name in FOLLOWED)
    assert outcome["error"] is error
    assert text in outcome["text"]


async def test_body_says_which_header_failed(t: Any) -> None:
    result = await chord([t.add.s(1, 1), t.fail.s("head")], t.total.s()).aapply_async()
    with pytest.raises(ChordError, match=r"raised ValueError\('head'\)"):
        await result.aget(timeout=TIMEOUT, follow_parents=False)
    # The group is its parent, and the cause comes first.
    with pytest.raises(ValueError, match="head"):
        await result.aget(timeout=TIMEOUT)


async def test_error_callbacks_are_called(app: Any, t: Any, unique: str) -> None:
    old, new = t.errback_old.s(key=unique), t.errback_new.s(key=unique)
    task = await t.fail.aapply_async(("a",), link_error=[old, new])
    linked = chain(t.add.s(1, 1), t.fail.si("b"), t.add.s(1)).on_error(new)
    await linked.aapply_async()
    members = group(t.fail.s("c"), t.add.s(1, 1))
    members.link_error(new)
    await members.aapply_async()
    headed = chord([t.fail.s("d"), t.add.s(1, 1)], t.total.s().on_error(new))
    body = await headed.aapply_async()
    await (await t.add.aapply_async((1, 1), link_error=new)).aget(timeout=TIMEOUT)
    found = await in_box(app, unique, 5)
    assert ["old", task.id] in found
    told = {error for kind, _, *error in found if kind == "new" for error in error}
    assert {f"ValueError('{name}')" for name in "abc"} <= told
    [failed] = [entry for entry in found if entry[:2] == ["new", body.id]]
    assert failed[2].startswith("ChordError")
    assert len(found) == 5


async def test_stamps(app: Any, t: Any, unique: str) -> None:
    sig = chain(t.stamps.s(), t.identity.s())
    sig.link(t.record.s(key=unique))
    sig.stamp(mark="m1")
    result = await sig.aapply_async()
    seen = await result.aget(timeout=TIMEOUT)
    assert seen == {"mark": "m1"}

    class Visitor(StampingVisitor):  # type: ignore[misc]
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"task": sig.task}

    def visited() -> Any:
        sig = group(t.stamps.si(), t.stamps.si()) | t.identity.s()
        sig.stamp(Visitor())
        return sig

    outcome = await both(visited)
    assert [one["task"] for one in outcome["value"]] == ["api.stamps"] * 2
    [[recorded]] = await in_box(app, unique, 1)
    assert recorded == seen


async def test_eager_canvas_runs_here(t: Any) -> None:
    added = await chain(t.add.s(1, 2), t.add.s(3)).aapply()
    assert await added.aget() == 6
    total = await chord([t.add.s(1, 1), t.add.s(2, 2)], t.total.s()).aapply()
    assert await total.aget() == 6
    pair = await group(t.add.s(1, 1), t.add.s(2, 2)).aapply()
    assert await pair.aget() == [2, 4]
