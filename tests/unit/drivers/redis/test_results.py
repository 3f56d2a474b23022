"""Waiting for pushed results: the order, the safety net, who leaves, what is kept."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.backends.redis import RedisBackend
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.utils import uuid

from celery_async_bridge.core.loops import aclose_loop
from celery_async_bridge.drivers.redis import results as module
from celery_async_bridge.drivers.redis.ear import ears
from celery_async_bridge.drivers.redis.own_ways import is_published
from celery_async_bridge.drivers.redis.results import feed_for
from celery_async_bridge.mixins.celery._poller import Failure, Watch
from tests.redis_servers import eventually
from tests.sweep import ignore_unclosed
from tests.unit.core.help import until

if TYPE_CHECKING:
    from tests.unit.drivers.redis.help import Watcher

pytestmark = ignore_unclosed

MakeApp = Callable[..., Celery]
NEVER = 1000.0


@pytest.fixture
def make_app(redis_url: str, unique: str) -> Iterator[MakeApp]:
    """Make apps that keep results on Redis; `name` tells their connections."""
    apps: list[Celery] = []

    def make(query: str = "", **settings: Any) -> Celery:
        app = Celery(unique, broker="memory://", set_as_current=False)
        app.conf.update(
            {
                "result_backend": redis_url + query,
                "redis_client_name": unique,
                "result_backend_transport_options": {"global_keyprefix": f"{unique}:"},
                **settings,
            }
        )
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()
    apps.clear()


@pytest.fixture
def app(make_app: MakeApp) -> Celery:
    """One of them."""
    return make_app()


@pytest.fixture
def pushed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at twice."""
    monkeypatch.setattr(module, "SAFETY", NEVER)
    monkeypatch.setattr(module, "POLLING", NEVER)
    monkeypatch.setattr(module, "ACK", 30.0)


def channel_of(app: Celery, task_id: str) -> str:
    """Where the results of a task are published."""
    backend: Any = app.backend
    key = backend.get_key_for_task(task_id)
    return key.decode() if isinstance(key, bytes) else str(key)


async def store(
    app: Celery, task_id: str, value: Any, state: str = "SUCCESS", **kwargs: Any
) -> None:
    """Store a state, as a worker does."""
    backend: Any = app.backend
    await backend.astore_result(task_id, value, state, **kwargs)


def waits(app: Celery, task_id: str, timeout: float = 30.0) -> asyncio.Task[Any]:
    """Wait for a result."""
    result: Any = app.AsyncResult(task_id)
    return asyncio.ensure_future(result.aget(timeout=timeout))


async def listens(watcher: Watcher, app: Celery, task_id: str, count: int = 1) -> None:
    """Wait until the server knows of so many subscriptions."""
    channel = channel_of(app, task_id)
    for _ in range(1000):
        if (await watcher.ask("PUBSUB", "NUMSUB", channel))[1] == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not {count} subscriptions")


def feeds() -> int:
    """How many feeds the live loops have."""
    return sum(len(found) for found in module._local.peek())


async def is_idle() -> None:
    """Wait until nothing is left of all waits but the socket."""
    await until(lambda: feeds() == 0 and len(asyncio.all_tasks()) == 1)
    assert sum(len(ear) for ear in ears()) == 0
    assert all(not ear.on_back for ear in ears())


@pytest.mark.usefixtures("pushed_only")
@pytest.mark.parametrize(
    "query",
    ["", "?protocol=2", "?protocol=3", "?decode_responses=true"],
)
async def test_a_result_is_pushed(
    query: str, make_app: MakeApp, watcher: Watcher
) -> None:
    app = make_app(query)
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await asyncio.sleep(0.02)
    await store(app, task_id, {"a": [1, "ä"]})
    assert await wait == {"a": [1, "ä"]}
    await listens(watcher, app, task_id, 0)
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_a_compressed_and_extended_result_is_pushed(
    make_app: MakeApp, watcher: Watcher
) -> None:
    app = make_app(result_extended=True, result_compression="gzip")
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await store(app, task_id, "x" * 10_000)
    assert await wait == "x" * 10_000


@pytest.mark.usefixtures("pushed_only")
async def test_ten_megabytes(app: Celery, watcher: Watcher) -> None:
    early, late, value = uuid(), uuid(), "x" * 10_000_000
    await store(app, early, value)
    wait = waits(app, late)
    await listens(watcher, app, late)
    await store(app, late, value)
    assert await wait == await waits(app, early) == value
    assert [ear.opened for ear in ears()] == [1]


class Bench:
    """A feed whose looks the test makes itself."""

    def __init__(self, app: Celery, fetch: Any) -> None:
        feed = feed_for(app.backend, object(), fetch, Failure)
        assert feed is not None
        self.feed = feed

    def watch(self, *ids: str, every: bool = False) -> Watch:
        """Wait for tasks."""
        watch = Watch(ids, timeout=10, every=every)
        self.feed.join(watch)
        return watch


@pytest.mark.usefixtures("pushed_only")
async def test_listens_then_is_subscribed_then_looks(
    app: Celery, watcher: Watcher
) -> None:
    seen = []

    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        (task_id,) = ids
        channel = channel_of(app, task_id)
        seen.append((await watcher.ask("PUBSUB", "NUMSUB", channel))[1])
        # As if it had been read just before somebody wrote it.
        await store(app, task_id, "later than the look")
        return {}

    for _ in range(2):
        bench, task_id = Bench(app, fetch), uuid()
        watch = bench.watch(task_id)
        assert (await watch.next())[1]["result"] == "later than the look"
        bench.feed.leave(watch)
    assert seen == [1, 1]
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_stored_at_any_moment_it_is_found(app: Celery) -> None:
    async def race(turns: int) -> None:
        task_id = uuid()

        async def write() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await store(app, task_id, turns)

        wait = waits(app, task_id)
        await asyncio.gather(write(), wait)
        assert wait.result() == turns

    for turns in range(60):  # alone
        await race(turns)
    await asyncio.gather(*(race(turns % 60) for turns in range(300)))
    await is_idle()


async def test_only_ready_states_end_a_wait(app: Celery, watcher: Watcher) -> None:
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    for state in ("STARTED", "PROGRESS"):
        await store(app, task_id, {"done": state}, state)
    await store(app, task_id, ValueError("again"), "RETRY")
    await asyncio.sleep(0.05)
    assert not wait.done()
    late = waits(app, task_id)
    await asyncio.sleep(0.05)
    assert not late.done()
    await store(app, task_id, 1)
    assert (await wait, await late) == (1, 1)


@pytest.mark.usefixtures("pushed_only")
async def test_states_are_seen_one_by_one(app: Celery, watcher: Watcher) -> None:
    result: Any = app.AsyncResult(uuid())
    found = []

    async def see() -> None:
        async for state, meta in result.astates(timeout=20):
            found.append((state, meta["result"]))

    seeing = asyncio.ensure_future(see())
    await listens(watcher, app, result.id)
    await until(lambda: found)
    steps: list[tuple[str, Any]] = [("STARTED", {"pid": 1})]
    steps += [("PROGRESS", n) for n in range(20)]
    steps += [("SUCCESS", "end")]
    for state, value in steps:
        await store(app, result.id, value, state)
    await seeing
    assert found == [("PENDING", None), *steps]
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_an_old_look_does_not_take_back_what_was_heard(
    app: Celery, watcher: Watcher
) -> None:
    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        (task_id,) = ids
        await store(app, task_id, 2, "PROGRESS")
        await until(watch._arrived.__len__)
        return {task_id: {"status": "PROGRESS", "result": 1}}

    bench = Bench(app, fetch)
    watch = bench.watch(uuid(), every=True)
    assert (await watch.next())[1]["result"] == 2
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(watch.next(), 0.1)
    bench.feed.leave(watch)


@pytest.mark.usefixtures("pushed_only")
async def test_a_failure_raises_what_the_task_raised(
    app: Celery, watcher: Watcher
) -> None:
    early, late = uuid(), uuid()
    await store(app, early, LookupError("x", 1), "FAILURE")
    wait = waits(app, late)
    await listens(watcher, app, late)
    await store(app, late, LookupError("x", 1), "FAILURE")
    for one in (wait, waits(app, early)):
        with pytest.raises(LookupError) as caught:
            await one
        assert type(caught.value) is LookupError
        assert caught.value.args == ("x", 1)


@pytest.mark.usefixtures("pushed_only")
@pytest.mark.parametrize("payload", ["no json", "1", "[]", "{}", '{"status": 7}'])
async def test_what_no_backend_has_published(
    payload: str, app: Celery, watcher: Watcher, quiet: list[dict[str, Any]]
) -> None:
    task_id, other = uuid(), uuid()
    wait, neighbour = waits(app, task_id), waits(app, other)
    await listens(watcher, app, task_id)
    await listens(watcher, app, other)
    await watcher.ask("PUBLISH", channel_of(app, task_id), payload)
    await store(app, other, 1)
    assert await neighbour == 1
    # An error, or no ready state: as a sync wait takes it.
    await store(app, task_id, 2)
    with suppress(Exception):
        assert await wait == 2
    assert [ear.opened for ear in ears()] == [1]
    assert quiet == []
    await is_idle()


@pytest.mark.usefixtures("pushed_only")
async def test_everybody_gets_it_and_the_last_one_leaves(
    make_app: MakeApp, watcher: Watcher
) -> None:
    # Two apps: two feeds on one connection.
    apps, task_id = [make_app(), make_app()], uuid()
    tasks = [waits(app, task_id) for app in apps for _ in range(5)]
    await listens(watcher, apps[0], task_id)
    for task in tasks[:4]:
        task.cancel()
    await asyncio.wait(tasks[:4])
    assert len(ears()) == 1
    assert feeds() == 2
    await listens(watcher, apps[0], task_id)
    await store(apps[0], task_id, 1)
    assert await asyncio.gather(*tasks[4:]) == [1] * 6
    await listens(watcher, apps[0], task_id, 0)
    await is_idle()


@pytest.mark.parametrize("end", ["timeout", "cancel", "result"])
async def test_who_leaves_unsubscribes(end: str, app: Celery, watcher: Watcher) -> None:
    task_id = uuid()
    wait = waits(app, task_id, timeout=0.3 if end == "timeout" else 30)
    await listens(watcher, app, task_id)
    if end == "cancel":
        wait.cancel()
    elif end == "result":
        await store(app, task_id, 1)
    await asyncio.wait({wait})
    if end == "timeout":
        assert isinstance(wait.exception(), CeleryTimeoutError)
    await listens(watcher, app, task_id, 0)
    await is_idle()
    # And may come back.
    backend: Any = app.backend
    await backend.aforget(task_id)
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await store(app, task_id, 2)
    assert await wait == 2


async def write_silently(app: Celery, watcher: Watcher, task_id: str) -> None:
    """Store a result without a word about it."""
    backend: Any = app.backend
    meta = {"status": "SUCCESS", "result": "found", "task_id": task_id}
    await watcher.ask("SET", channel_of(app, task_id), backend.encode(meta))


async def test_what_is_not_published_is_found_though_others_come_all_the_time(
    app: Celery, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAFETY", 0.2)
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await asyncio.sleep(0.05)
    await write_silently(app, watcher, task_id)
    others = []
    for _ in range(500):
        others.append(waits(app, uuid()))
        await asyncio.sleep(0.01)
        if wait.done():
            break
    assert await asyncio.wait_for(wait, 0) == "found"
    for other in others:
        other.cancel()
    await asyncio.wait(others)
    await is_idle()


async def test_without_an_ack_in_time_it_looks_soon_again(
    app: Celery, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAFETY", NEVER)
    monkeypatch.setattr(module, "ACK", 0)
    task_id = uuid()
    wait = waits(app, task_id)
    await listens(watcher, app, task_id)
    await asyncio.sleep(0.1)
    await write_silently(app, watcher, task_id)
    assert await wait == "found"


async def test_a_look_that_goes_wrong_is_told_and_the_next_wait_works(
    app: Celery,
) -> None:
    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        return {id_: {} for id_ in ids}  # no meta at all

    bench = Bench(app, fetch)
    for _ in range(2):
        watches = [bench.watch(uuid(), uuid()) for _ in range(2)]
        for watch in watches:
            with pytest.raises(KeyError):
                await watch.next()
        for watch in watches:
            bench.feed.leave(watch)
        await is_idle()


async def test_a_failing_look_is_repeated_while_the_subscription_holds(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLLING", 0.01)
    looks = 0

    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        raise OSError(looks)

    bench = Bench(app, fetch)
    watch = bench.watch(uuid())
    with pytest.raises(OSError, match=str(module.FAILURES)):
        await watch.next()
    bench.feed.leave(watch)
    await is_idle()


async def test_a_cancelled_task_does_not_end_all_waits(app: Celery) -> None:
    # Who cancels everything on a loop cancels this, too.
    first = waits(app, uuid())
    await until(feeds)
    await asyncio.sleep(0.05)
    mine = {asyncio.current_task(), first}
    for task in asyncio.all_tasks() - mine:
        task.cancel()
    await asyncio.sleep(0.01)
    task_id = uuid()
    await store(app, task_id, 1)
    assert await waits(app, task_id) == 1
    first.cancel()
    await asyncio.wait({first})
    await is_idle()


async def test_what_is_no_id_is_refused_and_leaves_nothing(app: Celery) -> None:
    async def fetch(ids: set[str], every: set[str]) -> dict[str, Any]:
        return {id_: {"status": "SUCCESS", "result": 1} for id_ in ids}

    for ids in ([""], [uuid(), ""], ["", *(uuid() for _ in range(9))]):
        bench = Bench(app, fetch)
        with pytest.raises(ValueError, match="empty"):
            bench.watch(*ids)
        await is_idle()
    watch = bench.watch(uuid())
    with pytest.raises(ValueError, match="empty"):
        bench.watch(uuid(), "")
    assert (await watch.next())[1]["result"] == 1
    bench.feed.leave(watch)
    await is_idle()


async def test_closing_does_not_end_who_waits(app: Celery, watcher: Watcher) -> None:
    old, new = uuid(), uuid()
    first = waits(app, old)
    await listens(watcher, app, old)
    await aclose_loop()
    second = waits(app, new)
    await listens(watcher, app, new)
    await store(app, new, 1)
    await store(app, old, 2)
    assert await second == 1
    assert await first == 2
    await is_idle()


def test_a_loop_that_ends_leaves_nothing(app: Celery, watcher: Watcher) -> None:
    async def main() -> None:
        for _ in range(20):
            waits(app, uuid(), 60)
        await asyncio.sleep(0.05)

    for _ in range(3):
        asyncio.run(main())
        eventually(lambda: not watcher.now(), 5, what="nobody connected")
    assert feeds() == 0
    assert ears() == []


async def test_an_app_that_is_gone_is_not_kept(make_app: MakeApp, unique: str) -> None:
    conf = make_app().conf
    app = Celery(unique, broker="memory://", set_as_current=False)
    app.conf.update(
        result_backend=conf.result_backend,
        result_backend_transport_options=conf.result_backend_transport_options,
    )
    wait = waits(app, uuid())
    await until(feeds)
    wait.cancel()
    await asyncio.wait({wait})
    await is_idle()
    app.close()
    gone = weakref.ref(app)
    del app, wait
    gc.collect()
    assert gone() is None
    assert len(ears()) == 1


class Silent(RedisBackend):
    """Does not publish what it stores."""

    def _set(self, key: Any, value: Any, *args: Any) -> None:
        self.client.setex(key, 60, value)


def test_who_publishes(make_app: MakeApp) -> None:
    app = make_app()
    assert is_published(app.backend)
    assert not is_published(Silent(app=app, url=app.conf.result_backend))
    assert not is_published(make_app(result_backend="cache+memory://").backend)


async def test_who_does_not_publish_is_polled(make_app: MakeApp) -> None:
    app = make_app()
    backend: Any = Silent(app=app, url=app.conf.result_backend)
    result: Any = app.AsyncResult(uuid(), backend=backend)
    wait = asyncio.ensure_future(result.aget(timeout=30))
    await asyncio.sleep(0.05)
    assert ears() == []
    await backend.astore_result(result.id, 1, "SUCCESS")
    assert await wait == 1
    backend.client.close()
