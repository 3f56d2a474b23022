"""Sending a task: what `adelay` and `aapply_async` put on the wire, and when."""

from __future__ import annotations

# Type checkers know neither the grafted methods nor the decorator of an untyped app.
# mypy: disable-error-code="attr-defined,untyped-decorator,type-arg"
import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Task, signals, uuid
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from kombu.exceptions import EncodeError, OperationalError, SerializerNotInstalled

from celery_async_bridge.errors import PublishTimeout
from tests.unit.mixins.celery.conftest import masked, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.mixins.celery.conftest import Desk

OPTIONS: list[dict[str, Any]] = [
    {},
    {"countdown": 60, "retries": 1},
    {"priority": 3, "headers": {"tenant": "a"}, "shadow": "other"},
    {"serializer": "pickle", "compression": "zlib", "ignore_result": True},
    {"expires": 30, "time_limit": 5, "soft_time_limit": 4},
]


def _add(desk: Desk, **options: Any) -> Any:
    def add(x: int, y: int = 0) -> int:
        return x + y

    return desk.app.task(name="add", shared=False, **options)(add)


async def test_adelay_sends_what_delay_sends(desk: Desk) -> None:
    add = _add(desk)
    sync = add.delay(2, y=3)
    twin = await add.adelay(2, y=3)
    assert type(twin) is type(sync)
    first, second = desk.sent()
    assert masked(first, sync.id) == masked(second, twin.id)
    assert twin.id in masked(second)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
async def test_aapply_async_sends_what_apply_async_sends(
    desk: Desk, options: dict[str, Any]
) -> None:
    if "countdown" in options or "expires" in options:
        # An absolute time in both messages instead of two nows.
        from datetime import datetime, timedelta, timezone

        then = datetime.now(timezone.utc) + timedelta(hours=1)
        names = {"countdown": "eta", "expires": "expires"}
        options = {
            names.get(name, name): then if name in names else value
            for name, value in options.items()
        }
    add = _add(desk)
    options = {"link": add.s(1), "task_id": uuid(), **options}
    add.apply_async((2,), {"y": 3}, **options)
    result = await add.aapply_async((2,), {"y": 3}, publish_timeout=30, **options)
    first, second = desk.sent()
    # AMQP counts the milliseconds left.
    for message in first, second:
        message["properties"].pop("expiration", None)
    assert masked(first) == masked(second)
    assert result.id == options["task_id"]
    assert result.ignored is bool(options.get("ignore_result", False))


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        ((object(),), {}, EncodeError),
        ((1,), {"serializer": "nonsense"}, SerializerNotInstalled),
        ((), {}, TypeError),
        ((1, 2, 3), {}, TypeError),
        ((1,), {"soft_time_limit": "x", "time_limit": 1, "expires": "y"}, Exception),
    ],
)
async def test_the_error_is_that_of_the_sync_method(
    desk: Desk, args: tuple[Any, ...], options: dict[str, Any], error: Any
) -> None:
    add = _add(desk)
    with pytest.raises(error) as sync:
        add.apply_async(args, **options)
    with pytest.raises(error) as twin:
        await add.aapply_async(args, **options)
    assert type(twin.value) is type(sync.value)
    assert desk.sent() == []


async def test_an_unknown_exchange_is_treated_as_by_the_sync_method(
    make_desk: Callable[..., Desk], unique: str
) -> None:
    desk = make_desk("amqp", broker_transport_options={"confirm_publish": True})
    add = _add(desk)
    options = {"exchange": f"{unique}-none", "routing_key": "x", "declare": []}
    with pytest.raises(Exception, match="NOT_FOUND") as sync:
        add.apply_async((1,), **options)
    with pytest.raises(Exception, match="NOT_FOUND") as twin:
        await add.aapply_async((1,), **options)
    assert type(twin.value) is type(sync.value)


async def test_overrides_are_honoured(desk: Desk) -> None:
    calls: list[str] = []

    class Tenant(Task):
        def delay(self, *args: Any, **kwargs: Any) -> Any:
            calls.append("delay")
            return super().delay(*args, **kwargs)

        def apply_async(self, *args: Any, **kwargs: Any) -> Any:
            calls.append("apply_async")
            return super().apply_async(*args, headers={"tenant": "t"}, **kwargs)

    add = _add(desk, base=Tenant)
    await add.adelay(1)
    assert calls == ["delay", "apply_async"]
    await add.aapply_async((1,))
    assert calls == ["delay", "apply_async", "apply_async"]
    assert [m["headers"]["tenant"] for m in desk.sent()] == ["t", "t"]


async def test_an_annotation_that_replaces_the_method_is_honoured(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk("memory")
    add = _add(desk)
    add.annotate()
    add.apply_async = lambda args=None, kwargs=None, **options: ("mine", args, options)
    assert await add.aapply_async((1,), shadow="s") == ("mine", (1,), {"shadow": "s"})
    assert await add.adelay(1) == ("mine", (1,), {})


async def test_everything_given_to_adelay_belongs_to_the_task(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk("memory")

    @desk.app.task(shared=False)
    def odd(producer: int, connection: int, task_id: int, publish_timeout: int) -> None:
        pass

    await odd.adelay(producer=1, connection=2, task_id=3, publish_timeout=4)
    (message,) = desk.sent()
    assert (
        '{"producer": 1, "connection": 2, "task_id": 3, "publish_timeout": 4}'
        in (message["body"])
    )


async def test_signals_come_around_the_send(desk: Desk) -> None:
    add, seen = _add(desk), []

    def before(headers: Any = None, **kwargs: Any) -> None:
        headers["seen"] = True
        seen.append("before")

    def after(**kwargs: Any) -> None:
        seen.append("after")

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        await add.adelay(1)
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert seen == ["before", "after"]
    assert [m["headers"]["seen"] for m in desk.sent()] == [True]


async def test_a_task_sent_from_a_task_is_its_child(desk: Desk) -> None:
    add = _add(desk)
    with running(add, id="parent", root_id="root") as request:
        one, two = await asyncio.gather(add.adelay(1), add.adelay(2))
        children = [child.id for child in request.children]
    assert sorted(children) == sorted([one.id, two.id])
    for message in desk.sent():
        assert message["headers"]["parent_id"] == "parent"
        assert message["headers"]["root_id"] == "root"


@pytest.mark.parametrize("stack", ["redis", "amqp"])
async def test_a_producer_or_connection_of_the_caller_is_used_by_one_at_a_time(
    make_desk: Callable[..., Desk], stack: str
) -> None:
    desk = make_desk(stack)
    add = _add(desk)
    with (
        desk.app.connection_for_write() as connection,
        connection.Producer(auto_declare=False) as producer,
    ):
        await asyncio.gather(
            *(add.aapply_async((n,), producer=producer) for n in range(20)),
            *(add.aapply_async((n,), connection=connection) for n in range(20)),
        )
    assert len(desk.sent()) == 40


async def test_a_late_send_raises_a_kombu_error_with_the_id(
    make_desk: Callable[..., Desk],
) -> None:
    def swallow(reader: Any, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    desk = make_desk("memory", broker_url=f"redis://:pass@127.0.0.1:{port}/0")
    desk.app.conf.broker_transport_options = {"socket_timeout": 40}
    add, start = _add(desk), asyncio.get_running_loop().time()
    with pytest.raises(OperationalError) as caught:
        await add.aapply_async((1,), task_id="known", publish_timeout=1)
    assert 0.99 < asyncio.get_running_loop().time() - start < 20
    assert type(caught.value) is PublishTimeout
    assert caught.value.task_id == "known"
    assert not caught.value.uncertain  # it was not even greeted: nothing was written
    assert "pass" not in str(caught.value)
    for writer in writers:
        writer.close()
    server.close()


@pytest.mark.usefixtures("threads_only")
async def test_sends_that_starve_each_other_leave_the_app_usable(
    make_desk: Callable[..., Desk],
) -> None:
    # In threads: on the loop nobody waits in a barrier.
    desk = make_desk("amqp", broker_pool_limit=2, async_publish_timeout=2)
    both = threading.Barrier(2)

    class Greedy(Task):
        def apply_async(self, *args: Any, **kwargs: Any) -> Any:
            with self.app.producer_or_acquire():
                both.wait(30)
                return super().apply_async(*args, **kwargs)

    add = _add(desk, base=Greedy)
    outcomes = await asyncio.gather(
        add.adelay(1), add.adelay(2), return_exceptions=True
    )
    assert [type(one) for one in outcomes] == [PublishTimeout] * 2
    await desk.app.asend_task("later", ignore_result=True)
    assert len(desk.sent()) == 1


async def test_aretry_raises_retry_and_sends_the_next_attempt(desk: Desk) -> None:
    add, sent_id = _add(desk), uuid()
    with running(add, id=sent_id, args=(1,), kwargs={}, retries=0, root_id=sent_id):
        try:
            raise KeyError("why")
        except KeyError as why:
            with pytest.raises(Retry) as caught:
                await add.aretry(exc=why, countdown=0)
    assert repr(caught.value.exc) == "KeyError('why')"
    (message,) = desk.sent()
    assert message["headers"]["id"] == sent_id
    assert message["headers"]["retries"] == 1


async def test_aretry_without_attempts_left_raises_as_retry_does(
    make_desk: Callable[..., Desk],
) -> None:
    add = _add(make_desk("redis"), max_retries=1)
    with running(add, id="x", args=(1,), kwargs={}, retries=1):
        with pytest.raises(MaxRetriesExceededError):
            await add.aretry()
        try:
            raise ValueError("first")
        except ValueError:
            with pytest.raises(KeyError) as caught:
                await add.aretry(exc=KeyError("last"))
        assert isinstance(caught.value.__cause__, ValueError)


async def test_a_retry_that_cannot_be_sent_rejects_the_message(
    make_desk: Callable[..., Desk],
) -> None:
    dead = {"broker_url": "redis://127.0.0.1:1/0", "async_publish_timeout": 0.3}
    add = _add(make_desk("memory", **dead))
    with (
        running(add, id="x", args=(1,), kwargs={}, retries=0),
        pytest.raises(Reject) as caught,
    ):
        await add.aretry(countdown=0)
    assert isinstance(caught.value.reason, PublishTimeout)


async def test_areplace_sends_the_other_and_raises_ignore(desk: Desk) -> None:
    add, own = _add(desk), uuid()
    with running(add, id=own, root_id=own), pytest.raises(Ignore):
        await add.areplace(add.s(7))
    (message,) = desk.sent()
    assert message["headers"]["id"] == own
    assert message["body"].startswith("[[7]")


async def test_aupdate_state_is_read_by_a_sync_result(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk("redis")
    add, own = _add(desk), uuid()
    with running(add, id=own):
        await add.aupdate_state(state="HALF", meta={"done": 5})
    result = desk.app.AsyncResult(own)
    assert (result.state, result.info) == ("HALF", {"done": 5})
    result.forget()
    assert (await add.abackend()).app is desk.app


async def test_hooks_may_be_functions_or_coroutine_functions(
    make_desk: Callable[..., Desk],
) -> None:
    seen: list[Any] = []

    class Hooked(Task):
        def on_success(self, retval: Any, *args: Any) -> None:
            seen.append(("success", threading.current_thread().name))

        async def on_failure(  # type: ignore[override]  # hence the twin
            self, exc: Any, *args: Any
        ) -> None:
            await asyncio.sleep(0)
            seen.append(("failure", threading.current_thread().name))

    add = _add(make_desk("memory"), base=Hooked)
    await add.aon_success(1, "id", (), {})
    await add.aon_failure(ValueError(), "id", (), {}, None)
    await add.aafter_return("SUCCESS", 1, "id", (), {}, None)
    assert [name for name, _ in seen] == ["success", "failure"]
    here = threading.current_thread().name
    assert seen[0][1] != here
    assert seen[1][1] == here


async def test_eager_tasks_run_here(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("memory", task_always_eager=True)
    loop = asyncio.get_running_loop()

    @desk.app.task(shared=False)
    async def on_loop(x: int) -> int:
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
        return x + 1

    @desk.app.task(shared=False)
    def in_thread() -> str:
        return threading.current_thread().name

    assert (await on_loop.adelay(1)).result == 2
    assert (await on_loop.aapply_async((2,), publish_timeout=0.001)).result == 3
    assert (await in_thread.adelay()).result != threading.current_thread().name
    with pytest.raises(EncodeError):
        await on_loop.adelay(object())
    results = await asyncio.gather(*(on_loop.adelay(n) for n in range(20)))
    assert [one.get() for one in results] == list(range(1, 21))
    assert desk.sent() == []
