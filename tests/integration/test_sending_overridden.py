"""User code on the send path meets the same as with sync sends, in every tier."""

# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator"
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import kombu.messaging
import kombu.transport.redis
import pytest
import redis
from celery import Celery, Task, _state, current_app, signals
from kombu.exceptions import OperationalError

import celery_async_bridge
from tests import tiers
from tests.integration.proxy import closed_port, proxied
from tests.sweep import ignore_unclosed

pytestmark = ignore_unclosed

#: Sends after which a plan is there.
LEARNED = 5
QUICK = {"max_retries": 2, "interval_start": 0, "interval_step": 0}


class Careful(Task):  # type: ignore[type-arg] # not generic at run time
    """Looks at what becomes of its sends."""

    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().apply_async(*args, **kwargs)
        except OperationalError as exc:
            return ("kept", type(exc.__cause__ or exc).__name__)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def make(tier: str, unique: str) -> Iterator[Callable[[str], Any]]:
    apps = []

    def make(url: str) -> Any:
        app = Celery("overridden", broker=url, set_as_current=False)
        app.conf.update(
            broker_transport_options={
                "global_keyprefix": f"{unique}:",
                "max_retries": 1,
                "interval_start": 0,
            },
            task_default_queue="q",
            task_publish_retry_policy=QUICK,
        )

        @app.task(name="add", shared=False)
        def add(x: int, y: int = 0) -> int:
            return x + y

        @app.task(name="careful", shared=False, base=Careful)
        def careful(x: int) -> int:
            return x

        app.finalize()
        tiers.prepare(tier, app)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


def sent(client: Any, unique: str) -> list[Any]:
    found = client.lrange(f"{unique}:q", 0, -1)
    return [json.loads(message) for message in found[::-1]]


#: Every way to send the task "add" once.
WAYS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "adelay": lambda app: app.tasks["add"].adelay(1, y=2),
    "aapply_async": lambda app: app.tasks["add"].aapply_async((1,), priority=0),
    "asend_task": lambda app: app.asend_task("add", (1, 2)),
    "signature": lambda app: app.tasks["add"].s(1, 2).adelay(),
}


async def test_an_override_sees_the_error_of_the_broker(
    make: Callable[[str], Any],
) -> None:
    app = make(f"redis://127.0.0.1:{closed_port()}/0")
    careful = app.tasks["careful"]
    expected = careful.delay(1)
    assert expected[0] == "kept"
    assert (await careful.adelay(1))[0] == "kept"
    assert (await careful.aapply_async((1,)))[0] == "kept"
    assert (await careful.s(1).adelay())[0] == "kept"
    await celery_async_bridge.aclose()


async def test_an_override_sees_the_error_when_the_broker_goes(
    make: Callable[[str], Any], redis_url: str
) -> None:
    with proxied(redis_url) as proxy:
        app = make(proxy.url)
        for n in range(LEARNED):
            await app.tasks["add"].adelay(n)
            await app.tasks["careful"].adelay(n)
    assert (await app.tasks["careful"].adelay(1))[0] == "kept"
    with pytest.raises(OperationalError):
        await app.tasks["add"].adelay(1)
    await celery_async_bridge.aclose()


class _Patch:
    """A tracer's patch: counts calls, and what is in the queue when one ends."""

    def __init__(self, client: Any, key: str) -> None:
        self.client, self.key = client, key
        self.ends: list[int] = []

    def wrap(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        def patched(*args: Any, **kwargs: Any) -> Any:
            try:
                return fn(*args, **kwargs)
            finally:
                self.ends.append(self.client.llen(self.key))

        return patched


class _Forwarding:
    """A wrapper as `wrapt` makes them (ddtrace's): it passes for what it wraps."""

    def __init__(self, wrapped: Any, call: Callable[..., Any]) -> None:
        self.__wrapped__, self._call = wrapped, call

    @property  # type: ignore[misc] # no class has it writable, but as a proxy
    def __class__(self) -> Any:
        return type(self.__wrapped__)

    def __get__(self, instance: Any, owner: Any) -> Any:
        bound = self.__wrapped__.__get__(instance, owner)
        call = self._call if instance is None else partial(self._call, instance)
        return _Forwarding(bound, call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __eq__(self, other: object) -> bool:
        return bool(self.__wrapped__ == other)

    def __hash__(self) -> int:
        return hash(self.__wrapped__)


def _wrapped(fn: Callable[..., Any], patched: Callable[..., Any]) -> Any:
    return wraps(fn)(patched)


#: How they do it: a plain function, one that claims to be upstream's, or a proxy.
KINDS: dict[str, Callable[..., Any]] = {
    "plain": lambda fn, patched: patched,
    "wraps": _wrapped,
    "proxy": _Forwarding,
}

#: What tracers and users patch -> the ways to send that go through it.
PATCHED: dict[str, tuple[Any, str, set[str]]] = {
    "Task.apply_async": (Task, "apply_async", set(WAYS) - {"asend_task"}),
    "Celery.send_task": (Celery, "send_task", set(WAYS)),
    "Producer.publish": (kombu.messaging.Producer, "publish", set(WAYS)),
    "Producer._publish": (kombu.messaging.Producer, "_publish", set(WAYS)),
    "Channel._put": (kombu.transport.redis.Channel, "_put", set(WAYS)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PATCHED)
async def test_a_patch_runs_once_and_ends_after_the_write(
    name: str,
    kind: str,
    make: Callable[[str], Any],
    redis_url: str,
    client: Any,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, attribute, ways = PATCHED[name]
    app = make(redis_url)
    before = 0
    for way in WAYS.values():
        for _ in range(LEARNED):
            await way(app)
            before += 1
    patch = _Patch(client, f"{unique}:q")
    with monkeypatch.context() as patching:
        original = vars(owner)[attribute]
        patched = KINDS[kind](original, patch.wrap(original))
        patching.setattr(owner, attribute, patched)
        # On what was learned before; then on an app that has only known the patch.
        for one in (app, make(redis_url)):
            for way_name, way in WAYS.items():
                for _ in range(1 if one is app else LEARNED):
                    patch.ends.clear()
                    await way(one)
                    before += 1
                    expected = [before] if way_name in ways else []
                    assert patch.ends == expected, way_name
    patch.ends.clear()
    for way in WAYS.values():
        await way(app)
        before += 1
    assert patch.ends == []
    assert len(sent(client, unique)) == before
    await celery_async_bridge.aclose()


async def test_signals_surround_the_write(
    make: Callable[[str], Any], redis_url: str, client: Any, unique: str
) -> None:
    app = make(redis_url)
    seen: list[Any] = []

    def before(**kwargs: Any) -> None:
        seen.append(["before", client.llen(f"{unique}:q")])

    def after(**kwargs: Any) -> None:
        seen.append(["after", client.llen(f"{unique}:q")])

    with (
        connected(signals.before_task_publish, before),
        connected(signals.after_task_publish, after),
    ):
        for n in range(LEARNED * 2):
            await app.tasks["add"].adelay(n)
            assert seen == [["before", n], ["after", n + 1]]
            seen.clear()
    await celery_async_bridge.aclose()


@contextmanager
def connected(signal: Any, receiver: Callable[..., Any], sender: Any = None) -> Any:
    signal.connect(receiver, weak=False, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=sender)


async def test_a_receiver_that_raises_is_logged_and_the_send_goes_on(
    make: Callable[[str], Any],
    redis_url: str,
    client: Any,
    unique: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make(redis_url)

    def broken(**kwargs: Any) -> None:
        raise ValueError("a receiver's own")

    for signal in (signals.before_task_publish, signals.after_task_publish):
        with connected(signal, broken), caplog.at_level(logging.ERROR):
            for n in range(LEARNED):
                caplog.clear()
                await app.tasks["add"].adelay(n)
                errors = [
                    r for r in caplog.records if "a receiver's own" in caplog.text
                ]
                assert len(errors) == 1
    assert len(sent(client, unique)) == 2 * LEARNED
    await celery_async_bridge.aclose()


async def test_a_receiver_of_one_sender_hears_only_it(
    make: Callable[[str], Any], redis_url: str
) -> None:
    app = make(redis_url)
    heard: list[str] = []

    def hear(sender: Any = None, **kwargs: Any) -> None:
        heard.append(sender)

    for n in range(LEARNED):  # learned while nobody listens
        await app.tasks["add"].adelay(n)
    with connected(signals.before_task_publish, hear, "careful"):
        for n in range(LEARNED):
            await app.tasks["add"].adelay(n)
            await app.tasks["careful"].adelay(n)
    assert heard == ["careful"] * LEARNED
    with connected(signals.before_task_publish, hear, "add"):
        await app.tasks["add"].adelay(1)
    assert heard[LEARNED:] == ["add"]
    await celery_async_bridge.aclose()


async def test_a_receivers_retry_policy_counts(
    make: Callable[[str], Any], redis_url: str
) -> None:
    tries: list[Any] = []

    def patient(retry_policy: Any = None, **kwargs: Any) -> None:
        retry_policy["max_retries"] = 3
        retry_policy["errback"] = lambda exc, interval: tries.append(exc)

    def counted(send: Callable[[], Any]) -> int:
        tries.clear()
        with pytest.raises(OperationalError):
            send()
        return len(tries)

    # Each its own: Kombu's pools are shared by apps of one URL.
    with proxied(redis_url) as proxy, proxied(redis_url) as another:
        app, other = make(proxy.url), make(another.url)
        for n in range(LEARNED):
            await app.tasks["add"].adelay(n)
            other.tasks["add"].delay(n)
    with connected(signals.before_task_publish, patient):
        expected = await asyncio.to_thread(counted, lambda: other.tasks["add"].delay(1))
        tries.clear()
        with pytest.raises(OperationalError):
            await app.tasks["add"].adelay(1)
    assert expected
    assert len(tries) == expected
    await celery_async_bridge.aclose()


async def test_a_receiver_may_send_itself(
    make: Callable[[str], Any], redis_url: str, client: Any, unique: str
) -> None:
    app = make(redis_url)
    inner: list[Any] = []

    def sends(sender: Any = None, **kwargs: Any) -> None:
        if sender == "add":
            inner.append(app.tasks["careful"].delay(1))

    with connected(signals.before_task_publish, sends):
        for n in range(LEARNED):
            await app.tasks["add"].adelay(n)
    names = [message["headers"]["task"] for message in sent(client, unique)]
    assert names == ["careful", "add"] * LEARNED
    await celery_async_bridge.aclose()


async def test_receivers_see_the_current_app_of_the_caller(
    make: Callable[[str], Any], redis_url: str
) -> None:
    # Tracers look the task up in its registry; upstream keeps it per thread.
    app = make(redis_url)
    seen: list[Any] = []

    def look(**kwargs: Any) -> None:
        seen.append(current_app._get_current_object())

    before = _state._tls.current_app
    app.set_current()
    try:
        with (
            connected(signals.before_task_publish, look),
            connected(signals.after_task_publish, look),
        ):
            for n in range(LEARNED):
                await app.tasks["add"].adelay(n)
    finally:
        _state._set_current_app(before)
    assert len(seen) == 2 * LEARNED
    assert all(one is app for one in seen)
    await celery_async_bridge.aclose()
