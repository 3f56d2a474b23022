"""Commands, questions and events: a stock worker, and many coroutines at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery import canvas
from celery.exceptions import TaskRevokedError
from kombu import Exchange, Queue

from tests.interop.async_api.compare import TIMEOUT
from tests.interop.stock_app import make_app
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from types import SimpleNamespace

pytestmark = ignore_unclosed

#: Without its type, which does not know the twins.
group: Any = canvas.group


@pytest.fixture
def node(app: Any) -> str:
    """The name of the worker."""
    return f"{app.conf.task_default_queue}@interop"


def _inspect(app: Any, node: str) -> Any:
    # One reply is enough, so no call lasts until its timeout.
    return app.control.inspect([node], timeout=10)


async def _ask(app: Any, node: str, method: str, *args: Any) -> Any:
    found = await getattr(_inspect(app, node), method)(*args)
    assert list(found) == [node]
    return found[node]


async def _until(app: Any, node: str, method: str, task_id: str) -> Any:
    """What is said of a task, once it is said."""
    for _ in range(100):
        for entry in await _ask(app, node, method):
            if task_id in (
                entry,
                entry["id"] if "id" in entry else entry["request"]["id"],
            ):
                return entry
        await asyncio.sleep(0.05)
    pytest.fail(f"{method} does not name {task_id}")


QUESTIONS = {
    "ping": (),
    "active": (),
    "scheduled": (),
    "reserved": (),
    "revoked": (),
    "registered": ("name", "rate_limit"),
    "active_queues": (),
    "query_task": ("no-such-id",),
    "conf": (),
    "hello": ("somebody@else",),
    "clock": (),
    "stats": (),
    "report": (),
}
#: Different each time; the rest must not be.
MOVING = {"clock", "stats", "hello", "report"}


async def test_questions_at_once(app: Any, node: str) -> None:
    names = [*QUESTIONS, *QUESTIONS][:20]
    replies = await asyncio.gather(
        *(_ask(app, node, f"a{name}", *QUESTIONS[name]) for name in names)
    )

    def stock(name: str) -> Any:
        return getattr(_inspect(app, node), name)(*QUESTIONS[name])[node]

    for name, reply in zip(names, replies, strict=True):
        oracle = await asyncio.to_thread(stock, name)
        if name in MOVING:
            assert reply.keys() == oracle.keys()
        else:
            assert reply == oracle, name
    assert "add" in str(replies[names.index("registered")])


async def test_everybody_gets_the_own_replies(
    app: Any, t: SimpleNamespace, node: str
) -> None:
    sent = [await t.add.aapply_async((n, n), countdown=60) for n in range(20)]
    for one in sent:
        await _until(app, node, "ascheduled", one.id)
        break
    client = app.backend.client
    ours = f"{app.conf.broker_transport_options['global_keyprefix']}*pidbox*"
    keys = set(await asyncio.to_thread(client.keys, ours))
    assert keys
    found = await asyncio.gather(
        *(_ask(app, node, "aquery_task", [one.id]) for one in sent)
    )
    assert [list(reply) for reply in found] == [[one.id] for one in sent]
    assert {reply[one.id][0] for reply, one in zip(found, sent, strict=True)} == {
        "scheduled"
    }
    assert set(await asyncio.to_thread(client.keys, ours)) == keys
    await app.control.arevoke([one.id for one in sent])
    revoked = await _ask(app, node, "arevoked")
    assert {one.id for one in sent} <= set(revoked)


async def test_who_is_asked(app: Any, node: str) -> None:
    control = app.control
    assert await control.aping(timeout=10, limit=1) == [{node: {"ok": "pong"}}]
    assert await control.aping([node], timeout=10) == [{node: {"ok": "pong"}}]
    assert await control.aping(["no@body"], timeout=0.3) == []
    assert await control.inspect(["no@body"], timeout=0.3).aping() is None
    one = control.inspect(pattern="*@interop", matcher="glob", limit=1, timeout=10)
    assert await one.aping() == {node: {"ok": "pong"}}
    heard: list[Any] = []
    await control.abroadcast(
        "ping", reply=True, limit=1, timeout=10, callback=heard.append
    )
    assert heard == [{node: {"ok": "pong"}}]
    assert await control.abroadcast("ping") is None


COMMANDS: dict[str, tuple[Any, ...]] = {
    "rate_limit": ("stock.add", "1000/s"),
    "rate_limit-unknown": ("no.task", "1/s"),
    "rate_limit-wrong": ("stock.add", "much"),
    "time_limit": ("stock.add", 50, 60),
    "time_limit-unknown": ("no.task", 50, 60),
    "autoscale": (5, 2),
    "cancel_consumer": ("no.queue",),
    "revoke": ("no-such-id",),
    "terminate": ("no-such-id",),
    "revoke_by_stamped_headers": ({"no": "stamp"},),
    "pool_restart": (["no.module"],),
    "heartbeat": (),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_command(app: Any, node: str, command: str) -> None:
    name, args = command.partition("-")[0], COMMANDS[command]
    options: dict[str, Any] = {"destination": [node], "reply": True, "timeout": 10}
    if name == "heartbeat":  # it never answers
        options |= {"reply": False}
    ours = await getattr(app.control, f"a{name}")(*args, **options)
    theirs = await asyncio.to_thread(getattr(app.control, name), *args, **options)
    assert ours == theirs
    assert (ours is None) == (name == "heartbeat")


async def test_unknown_command_is_told(app: Any, node: str) -> None:
    [reply] = await app.control.abroadcast("dance", reply=True, limit=1, timeout=10)
    assert "error" in reply[node]


async def test_pool_grows_and_shrinks(app: Any, node: str) -> None:
    async def processes(count: int) -> None:
        for _ in range(100):
            stats = await _ask(app, node, "astats")
            if len(stats["pool"]["processes"]) == count:
                return
            await asyncio.sleep(0.05)
        pytest.fail(f"there are not {count} processes: {stats}")

    options: dict[str, Any] = {"destination": [node], "reply": True, "timeout": 10}
    await processes(4)
    [reply] = await app.control.apool_grow(1, **options)
    assert reply == {node: {"ok": "pool will grow"}}
    await processes(5)
    [reply] = await app.control.apool_shrink(1, **options)
    assert reply == {node: {"ok": "pool will shrink"}}
    await processes(4)


async def test_rate_limit_holds(app: Any, t: SimpleNamespace, node: str) -> None:
    options: dict[str, Any] = {"destination": [node], "reply": True, "timeout": 10}
    await app.control.arate_limit("api.identity", "4/s", **options)
    started = asyncio.get_running_loop().time()
    results = [await t.identity.adelay(n) for n in range(4)]
    values = [await one.aget(timeout=TIMEOUT) for one in results]
    assert values == [0, 1, 2, 3]
    assert asyncio.get_running_loop().time() - started > 0.5
    await app.control.arate_limit("api.identity", 0, **options)


async def test_consumer_is_added_and_cancelled(
    app: Any, t: SimpleNamespace, node: str, unique: str
) -> None:
    options: dict[str, Any] = {"destination": [node], "reply": True, "timeout": 10}
    queue = f"{app.conf.task_default_queue}.{unique}"
    other = Queue(queue, Exchange(queue), routing_key=queue)
    sent = await t.add.aapply_async((1, 2), queue=other)
    [added] = await app.control.aadd_consumer(
        queue, exchange=queue, routing_key=queue, **options
    )
    assert "ok" in added[node]
    assert await sent.aget(timeout=TIMEOUT) == 3
    names = {one["name"] for one in await _ask(app, node, "aactive_queues")}
    assert names == {app.conf.task_default_queue, queue}
    await app.control.acancel_consumer(queue, **options)
    [left] = await _ask(app, node, "aactive_queues")
    assert left["name"] == app.conf.task_default_queue


async def test_purge(app: Any, redis_url: str, unique: str) -> None:
    other = make_app(redis_url, redis_url, unique)
    add = other.tasks["stock.add"]
    await asyncio.gather(*(add.adelay(n, n) for n in range(3)))
    assert await other.control.apurge() == 3
    assert await other.control.apurge() == 0
    other.close()


async def test_revoked_before_it_starts(
    app: Any, t: SimpleNamespace, node: str
) -> None:
    results = [await t.add.aapply_async((1, 1), countdown=1) for _ in range(3)]
    await asyncio.gather(
        results[0].arevoke(wait=True, timeout=0.3),
        app.control.arevoke(results[1].id, destination=[node], reply=True),
        app.ResultSet(results[2:]).arevoke(),
    )
    for one in results:
        with pytest.raises(TaskRevokedError, match="revoked"):
            await one.aget(timeout=TIMEOUT)
        assert await one.astate() == "REVOKED"


async def test_terminated_while_it_runs(
    app: Any, t: SimpleNamespace, node: str
) -> None:
    members = await group(t.nap.s(60), t.nap.s(60)).aapply_async()
    for one in members.results:
        await _until(app, node, "aactive", one.id)
    await members.results[0].arevoke(terminate=True, signal="SIGKILL")
    await app.control.aterminate(members.results[1].id, signal="SIGKILL")
    for one in members.results:
        with pytest.raises(TaskRevokedError, match="terminated"):
            await one.aget(timeout=TIMEOUT)


async def test_revoked_by_stamp(app: Any, t: SimpleNamespace, node: str) -> None:
    first, second = t.nap.si(60), t.nap.si(60)
    first.stamp(owner="me")
    second.stamp(owner="you")
    mine, yours = await first.aapply_async(), await second.aapply_async()
    for one in (mine, yours):
        await _until(app, node, "aactive", one.id)
    revoke = app.control.arevoke_by_stamped_headers
    await revoke({"owner": "me"}, terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevokedError):
        await mine.aget(timeout=TIMEOUT)
    assert await yours.astate() == "STARTED"
    await yours.arevoke_by_stamped_headers(
        {"owner": "you"}, terminate=True, signal="SIGKILL"
    )
    with pytest.raises(TaskRevokedError):
        await yours.aget(timeout=TIMEOUT)


@asynccontextmanager
async def _captured(app: Any) -> AsyncIterator[list[dict[str, Any]]]:
    """Collect the events of the workers, from the first that arrives."""
    seen: list[dict[str, Any]] = []
    async with app.connection_for_read() as connection:
        await connection.adefault_channel()
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        capturing = asyncio.ensure_future(receiver.acapture())
        try:
            for _ in range(100):
                if seen:
                    break
                await app.control.aheartbeat()
                await asyncio.sleep(0.05)
            yield seen
        finally:
            capturing.cancel()
            await asyncio.wait({capturing})


async def _arrived(seen: list[dict[str, Any]], kind: str, uuid: str) -> None:
    for _ in range(200):
        if any(one["type"] == kind and one.get("uuid") == uuid for one in seen):
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"no {kind} of {uuid} in {seen}")


async def test_events_of_a_task(app: Any, t: SimpleNamespace, node: str) -> None:
    await app.control.aenable_events([node], reply=True, limit=1, timeout=10)
    async with _captured(app) as seen:
        good, bad = await t.add.adelay(1, 1), await t.fail.adelay("seen")
        await _arrived(seen, "task-succeeded", good.id)
        await _arrived(seen, "task-failed", bad.id)
        own: dict[str, Any] = {"hostname": "me"}
        async with app.events.adefault_dispatcher(**own) as dispatcher:
            await dispatcher.asend("task-own", uuid="mine")
        await _arrived(seen, "task-own", "mine")
    kinds = [one["type"] for one in seen if one.get("uuid") == good.id]
    assert kinds == ["task-received", "task-started", "task-succeeded"]
    assert {one["hostname"] for one in seen} == {node, "me"}
    [failed] = [one for one in seen if one["type"] == "task-failed"]
    assert failed["exception"] == "ValueError('seen')"


async def test_events_of_the_sender_and_the_worker(
    app: Any, t: SimpleNamespace, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await app.control.aenable_events([node], reply=True, limit=1, timeout=10)
    monkeypatch.setitem(app.conf, "task_send_sent_event", True)
    wanted = {"task-sent", "task-received", "task-started", "task-succeeded"}
    seen: dict[str, list[str]] = {}
    sent: list[str] = []
    asking = asyncio.ensure_future(_heartbeats(app))
    events = app.events.areceiver(timeout=60)
    async with aclosing(events):
        async for event in events:
            if not sent:  # it hears them by now
                asking.cancel()
                sent += [(await t.add.adelay(n, n)).id for n in range(3)]
            kinds = seen.setdefault(event.get("uuid"), [])
            kinds.append(event["type"])
            if all(wanted <= {*seen.get(one, ())} for one in sent):
                break
    for one in sent:
        kinds = [kind for kind in seen[one] if kind != "task-sent"]
        assert kinds == ["task-received", "task-started", "task-succeeded"]


async def test_events_are_switched(app: Any, t: SimpleNamespace, node: str) -> None:
    options: dict[str, Any] = {"destination": [node], "reply": True, "timeout": 10}
    await app.control.aenable_events(**options)
    async with _captured(app) as seen:
        assert await app.control.adisable_events(**options) == [
            {node: {"ok": "task events disabled"}}
        ]
        silent = await t.add.adelay(1, 1)
        await silent.aget(timeout=TIMEOUT)
        assert await app.control.aenable_events(**options) == [
            {node: {"ok": "task events enabled"}}
        ]
        heard = await t.add.adelay(1, 1)
        await _arrived(seen, "task-succeeded", heard.id)
    assert silent.id not in {one.get("uuid") for one in seen}


async def test_events_iterate(app: Any, node: str) -> None:
    seen: list[str] = []

    def handle(event: dict[str, Any]) -> None:
        seen.append(event["hostname"])

    async with app.connection_for_read() as connection:
        await connection.adefault_channel()
        receiver = app.events.Receiver(connection, handlers={"*": handle})
        events = receiver.aitercapture(timeout=10)
        asking = asyncio.ensure_future(_heartbeats(app))
        try:
            async for _ in events:
                if seen:
                    break
        finally:
            asking.cancel()
            await events.aclose()
    assert set(seen) == {node}


async def _heartbeats(app: Any) -> None:
    while True:
        await app.control.aheartbeat()
        await asyncio.sleep(0.1)
