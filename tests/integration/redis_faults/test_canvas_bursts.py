"""The messages of a canvas leave one behind the other, and none is silent about it."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator"
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest
from celery import Task, chain, chord, group, signals
from kombu.exceptions import OperationalError

from celery_async_bridge.drivers.redis.mux import muxes
from celery_async_bridge.errors import DeliveryUncertain, PublishTimeout
from tests.integration.redis_faults.burst import messages
from tests.integration.redis_faults.faulty_proxy import FaultyProxy, faulty_proxy
from tests.integration.redis_faults.turns import Turns, turns
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from tests.redis_servers import RedisServer

pytestmark = [ignore_unclosed, pytest.mark.redis]

MakeApp = Callable[..., Any]
MANY = 50
#: Round trips that such a canvas may take.
FEW = 10
QUICK = {"max_retries": 2, "interval_start": 0, "interval_step": 0}


class Plain(Task):  # type: ignore[type-arg] # not generic at run time
    """Has an override that adds nothing."""

    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        return super().apply_async(*args, **kwargs)


class Careful(Task):  # type: ignore[type-arg] # not generic at run time
    """Notes what becomes of its sends."""

    abstract = True
    errors: tuple[str, ...] = ()

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().apply_async(*args, **kwargs)
        except OperationalError as exc:
            type(self).errors += (str(exc),)
            raise


def _total(numbers: list[int]) -> int:
    return sum(numbers)


@pytest.fixture
def make(make_app: MakeApp) -> MakeApp:
    """Make apps with some more tasks."""

    def make(broker: str, backend: str = "", **conf: Any) -> Any:
        app = make_app(broker, backend, task_publish_retry_policy=QUICK, **conf)
        app.total = app.task(_total, name="total", shared=False)
        app.plain = app.task(app.add.run, name="plain", base=Plain, shared=False)
        app.careful = app.task(app.add.run, name="careful", base=Careful, shared=False)
        return app

    return make


@pytest.fixture
def far(shared_server: RedisServer) -> Iterator[Turns]:
    """The shared server, 20 ms away."""
    with turns(shared_server.url) as proxy:
        yield proxy


@pytest.fixture
def near(shared_server: RedisServer) -> Iterator[Turns]:
    """The shared server, behind a proxy."""
    with turns(shared_server.url, 0.0) as proxy:
        yield proxy


@pytest.fixture
def faulty(server: RedisServer) -> Iterator[FaultyProxy]:
    """The test's own server, behind a proxy."""
    with faulty_proxy(server.url) as proxy:
        yield proxy


def parts(app: Any, count: int = MANY) -> list[Any]:
    return [app.add.s(n, n) for n in range(count)]


CANVASES: dict[str, Callable[[Any], Any]] = {
    "group": lambda app: group(parts(app)).aapply_async(),
    "generator": lambda app: group(app.add.s(n, n) for n in range(MANY)).aapply_async(),
    "delay": lambda app: group(parts(app)).adelay(),
    "chord": lambda app: chord(parts(app), app.total.s()).aapply_async(),
    "chain": lambda app: chain(group(parts(app)), app.total.s()).aapply_async(),
    "chunks": lambda app: app.add.chunks(
        [(n, n) for n in range(2 * MANY)], 2
    ).aapply_async(),
    "nested": lambda app: group(
        group(parts(app, 10)), chord(parts(app, MANY - 10), app.total.s())
    ).aapply_async(),
}


async def count(server: RedisServer) -> int:
    return len(await asyncio.to_thread(messages, server))


async def numbers(server: RedisServer) -> list[int]:
    """The first arguments of the messages, in the order in which they came."""
    found = await asyncio.to_thread(messages, server)
    return [
        int(m["headers"]["argsrepr"].strip("()").split(",")[0]) for m in found[::-1]
    ]


async def reaches(server: RedisServer, number: int) -> None:
    """Wait until there are so many messages."""
    end = time.monotonic() + 20
    while (found := await count(server)) != number:
        assert time.monotonic() < end, f"{found} messages, not {number}"


async def warm(app: Any) -> None:
    """Have the connections and the queue there."""
    await group(app.add.s(-1, 0), app.add.s(-1, 0)).aapply_async()
    if app.conf.result_backend:
        await chord([app.add.s(-1, 0)], app.total.s()).aapply_async()


async def sent(server: RedisServer) -> int:
    return sum(number >= 0 for number in await numbers(server))


@pytest.mark.parametrize("canvas", CANVASES)
async def test_a_canvas_takes_few_round_trips(
    shared_server: RedisServer, make: MakeApp, far: Turns, canvas: str
) -> None:
    app = make(far.url, far.url)
    await warm(app)
    await CANVASES[canvas](app)
    before, far.turns = await count(shared_server), 0
    await CANVASES[canvas](app)
    assert await count(shared_server) - before == MANY
    assert 0 < far.turns < FEW


@contextmanager
def receiving(signal: Any) -> Iterator[None]:
    def receiver(**kwargs: Any) -> None:
        """Do nothing."""

    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


@contextmanager
def patched(owner: Any, name: str) -> Iterator[None]:
    """Wrap a method as tracers do."""
    original = getattr(owner, name)

    @wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    own = name in vars(owner)
    setattr(owner, name, wrapper)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)


def _of_kombu() -> Any:
    import kombu.messaging

    return kombu.messaging.Producer


#: Who may look at each send: all of them find it confirmed.
WATCHERS: dict[str, Callable[[Any], Any]] = {
    "a patched task": lambda app: patched(Task, "apply_async"),
    "a patched instance": lambda app: patched(app.add, "apply_async"),
    "a patched app": lambda app: patched(app, "send_task"),
    "a patched producer": lambda app: patched(_of_kombu(), "publish"),
    "a patched client": lambda app: patched(_client(), "execute_command"),
    "a patched pool": lambda app: patched(app, "producer_or_acquire"),
    "a receiver": lambda app: receiving(signals.after_task_publish),
    "an old receiver": lambda app: receiving(signals.task_sent),
}


def _client() -> Any:
    import redis

    return redis.Redis


@pytest.mark.parametrize("watcher", WATCHERS)
async def test_where_somebody_looks_each_write_is_awaited(
    shared_server: RedisServer, make: MakeApp, near: Turns, watcher: str
) -> None:
    app = make(near.url)
    await warm(app)
    with WATCHERS[watcher](app):
        near.turns = 0
        await group(parts(app, 20)).aapply_async()
    assert near.turns >= 20


async def test_events_of_sends_are_awaited(
    shared_server: RedisServer, make: MakeApp, near: Turns
) -> None:
    app = make(near.url, task_send_sent_event=True)
    await warm(app)
    near.turns = 0
    await group(parts(app, 20)).aapply_async()
    # The message, and where its event goes to.
    assert near.turns >= 40


async def test_only_the_sends_of_an_override_are_awaited(
    shared_server: RedisServer, make: MakeApp, near: Turns
) -> None:
    app = make(near.url)
    await warm(app)
    near.turns = 0
    await group(
        *parts(app, 20), *(app.plain.s(n, n) for n in range(5)), *parts(app, 20)
    ).aapply_async()
    assert 5 <= near.turns < 5 + FEW


async def test_the_order_is_that_of_the_canvas(
    server: RedisServer, make: MakeApp
) -> None:
    app = make(server.url)
    await group(
        (app.plain if n % 7 == 3 else app.add).s(n, n) for n in range(MANY)
    ).aapply_async()
    assert await numbers(server) == list(range(MANY))


def test_the_size_of_a_chord_is_there_before_its_last_header(
    shared_server: RedisServer, make: MakeApp
) -> None:
    app = make(shared_server.url, shared_server.url)

    async def main() -> None:
        await chord(parts(app), app.total.s()).aapply_async()

    asyncio.run(warm(app))
    seen: list[tuple[str, str]] = []
    with shared_server.admin() as admin, admin.monitor() as monitor:
        asyncio.run(main())
        admin.get("the-end")
        for entry in monitor.listen():
            name, _, rest = entry["command"].partition(" ")
            seen.append((name, rest.split(" ")[0]))
            if seen[-1] == ("GET", "the-end"):
                break
    writes = [(n, name, key) for n, (name, key) in enumerate(seen)]
    puts = [n for n, name, key in writes if name == "LPUSH"]
    sizes = [n for n, name, key in writes if name == "SET" and key.endswith(".s")]
    assert len(puts) == MANY
    assert len(sizes) == 1
    assert puts[-2] < sizes[0] < puts[-1]


class Refusing:
    """A queue that takes messages, until its key is no list any more."""

    def __init__(self, server: RedisServer, app: Any) -> None:
        self._server = server
        self._key = app.conf.broker_transport_options["global_keyprefix"] + "refusing"
        app.amqp.queues.add("refusing")
        self.task = app.add.s(-2, 0).set(queue="refusing")

    def _replace(self, value: str) -> None:
        with self._server.admin() as admin:
            admin.delete(self._key)
            if value:
                admin.set(self._key, value)
            admin.config_resetstat()

    async def spoil(self, *, sync: bool = False) -> None:
        """Refuse what comes, once the queue is declared."""
        await asyncio.to_thread(self._replace, "")
        if sync:
            await asyncio.to_thread(self.task.apply_async)
        else:
            await group(self.task, self.task).aapply_async()
        await asyncio.to_thread(self._replace, "no list")

    def attempts(self) -> dict[str, int]:
        """How often which command was refused."""
        with self._server.admin() as admin:
            stats = admin.info("commandstats")
        return {
            name: found["failed_calls"]
            for name, found in stats.items()
            if found["failed_calls"]
        }


@pytest.mark.parametrize("place", [0, 20])
@pytest.mark.parametrize("retry", [True, False])
async def test_a_refused_message_raises_as_upstream_does(
    server: RedisServer, make: MakeApp, place: int, retry: bool
) -> None:
    app = make(server.url)
    await warm(app)
    refusing = Refusing(server, app)

    def canvas() -> Any:
        tasks = parts(app, 40)
        tasks[place] = refusing.task
        return group(tasks)

    await refusing.spoil(sync=True)
    with pytest.raises(OperationalError) as expected:
        await asyncio.to_thread(canvas().apply_async, retry=retry)
    tried = await asyncio.to_thread(refusing.attempts)
    found = await sent(server)
    assert found == place
    assert "cmdstat_lpush" in tried
    await refusing.spoil()
    with pytest.raises(OperationalError) as raised:
        await canvas().aapply_async(retry=retry)
    assert await asyncio.to_thread(refusing.attempts) == tried
    assert type(raised.value) is type(expected.value)
    assert str(raised.value) == str(expected.value)
    assert type(raised.value.__cause__) is type(expected.value.__cause__)
    # Those before it have left, and maybe some behind it.
    assert place <= await sent(server) - found < 40
    # The connection is as good as new.
    await group(parts(app, 3)).aapply_async()


async def test_a_refused_header_keeps_a_chord_from_its_size(
    server: RedisServer, make: MakeApp
) -> None:
    """As in upstream: what comes after the header that failed has not happened."""
    app = make(server.url, server.url)
    refusing = Refusing(server, app)
    await refusing.spoil()
    header = [*parts(app, 3), refusing.task, *parts(app, 3)]
    with pytest.raises(OperationalError):
        await chord(header, app.total.s()).aapply_async()
    with server.admin() as admin:
        keys = await asyncio.to_thread(admin.keys, "*.s")
    assert keys == []


async def test_the_error_that_came_first_is_raised(
    server: RedisServer, make: MakeApp
) -> None:
    app = make(server.url)
    refusing, wrong = Refusing(server, app), app.add.s(1, 2, 3, 4)
    await refusing.spoil()
    with pytest.raises(OperationalError):
        await group(*parts(app, 3), refusing.task, wrong).aapply_async()
    await refusing.spoil()
    with pytest.raises(TypeError):
        await group(*parts(app, 3), wrong, refusing.task).aapply_async()


async def test_what_was_sent_before_a_bug_of_the_caller_has_arrived(
    server: RedisServer, make: MakeApp
) -> None:
    app = make(server.url)
    with pytest.raises(TypeError):
        await group(*parts(app, 20), app.add.s(1, 2, 3, 4)).aapply_async()
    assert await numbers(server) == list(range(20))


async def test_an_override_sees_only_its_own_errors(
    server: RedisServer, make: MakeApp
) -> None:
    app = make(server.url)
    await warm(app)
    refusing = Refusing(server, app)
    await refusing.spoil()
    Careful.errors = ()
    with pytest.raises(OperationalError):
        await group(*parts(app, 3), refusing.task, app.careful.s(1, 1)).aapply_async()
    assert Careful.errors == ()


@pytest.mark.parametrize("size", [100, 10_000, 30_001])
async def test_cut_in_the_middle_it_goes_on(
    server: RedisServer, make: MakeApp, faulty: FaultyProxy, size: int
) -> None:
    app = make(faulty.url)
    await warm(app)
    faulty.reset_after(size)
    result = await group(parts(app)).aapply_async()
    assert faulty.resets == 1
    every = await asyncio.to_thread(messages, server)
    found = [m for m in every[::-1] if m["headers"]["group"] == result.id]
    ids = Counter(m["headers"]["id"] for m in found)
    assert list(ids) == [child.id for child in result.results]
    texts = {json.dumps([m["body"], m["headers"]]) for m in found}
    assert len(texts) == MANY


async def test_cut_in_the_middle_nothing_is_repeated_if_unwanted(
    server: RedisServer, make: MakeApp, faulty: FaultyProxy
) -> None:
    app = make(faulty.url, async_retry_uncertain=False)
    await warm(app)
    faulty.reset_after(20_000)
    with pytest.raises(DeliveryUncertain) as raised:
        await group(parts(app)).aapply_async()
    assert faulty.resets == 1
    found = Counter(number for number in await numbers(server) if number >= 0)
    assert set(found.values()) <= {1}
    assert 0 < len(found) < MANY
    assert raised.value.task_id


async def test_nobody_there_it_raises_as_upstream_does(
    server: RedisServer, make: MakeApp
) -> None:
    app = make(server.url)
    await warm(app)
    await asyncio.to_thread(server.stop)
    with pytest.raises(OperationalError) as raised:
        await group(parts(app)).aapply_async()
    with pytest.raises(OperationalError) as expected:
        await asyncio.to_thread(group(parts(app)).apply_async)
    assert type(raised.value) is type(expected.value)


async def test_cancelled_in_the_middle_the_rest_is_not_sent(
    shared_server: RedisServer, make: MakeApp, near: Turns
) -> None:
    app = make(near.url, async_max_inflight=20)
    await warm(app)
    before = await count(shared_server)
    near.mute()
    sending = asyncio.ensure_future(group(parts(app)).aapply_async())
    await reaches(shared_server, before + 20)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    near.unmute()
    await group(parts(app, 3)).aapply_async()
    assert await count(shared_server) - before == 23


async def test_out_of_time_it_says_that_messages_may_be_there(
    shared_server: RedisServer, make: MakeApp, near: Turns
) -> None:
    app = make(near.url)
    await warm(app)
    near.mute()
    with pytest.raises(PublishTimeout) as raised:
        await group(parts(app)).aapply_async(publish_timeout=2)
    assert raised.value.uncertain


async def test_no_more_wait_for_their_replies_than_the_cap(
    shared_server: RedisServer, make: MakeApp, near: Turns
) -> None:
    cap = 20
    app = make(near.url, async_max_inflight=cap)
    await warm(app)
    before = await count(shared_server)
    near.mute()
    sending = asyncio.ensure_future(group(parts(app, 200)).aapply_async())
    await reaches(shared_server, before + cap)
    await asyncio.sleep(0.1)
    assert await count(shared_server) - before == cap
    assert max(mux.in_flight for mux in muxes()) == cap
    near.unmute()
    await sending
    assert await count(shared_server) - before == 200


async def test_canvases_share_the_turns_of_the_loop(
    shared_server: RedisServer, make: MakeApp
) -> None:
    """All of them go on in each turn, and the loop does: none waits for another."""
    app = make(shared_server.url, async_start_gate=4)
    await warm(app)
    before = await count(shared_server)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.ensure_future(tick())
    await asyncio.gather(*(group(parts(app, 20)).aapply_async() for _ in range(10)))
    ticker.cancel()
    assert await count(shared_server) - before == 200
    assert ticks >= 200 / 4


async def test_many_canvases_survive_a_cut(
    server: RedisServer, make: MakeApp, faulty: FaultyProxy
) -> None:
    """More than there are producers: none waits for one while it holds another."""
    app = make(faulty.url)
    await warm(app)
    faulty.reset_after(300_000)
    results = await asyncio.gather(
        *(group(parts(app, 6)).aapply_async(publish_timeout=60) for _ in range(80))
    )
    assert faulty.resets == 1
    found = {m["headers"]["id"] for m in await asyncio.to_thread(messages, server)}
    assert found >= {child.id for result in results for child in result.results}
