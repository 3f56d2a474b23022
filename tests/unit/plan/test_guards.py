"""A plan notices what has changed, and leaves to upstream what it cannot do."""

# mypy: disable-error-code="attr-defined,type-arg"

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import celery.app.amqp
import celery.app.base
import kombu.serialization
import kombu.transport.redis
import kombu.transport.virtual.base
import kombu.utils.json
import pytest
from celery import Celery, Task, signals
from celery.result import AsyncResult, EagerResult
from kombu import Exchange, Queue
from kombu.messaging import Producer

from celery_async_bridge.plan.plan import READY, REFUSED
from celery_async_bridge.plan.pristine import is_upstream
from tests.unit.plan.conftest import by_upstream, plain

if TYPE_CHECKING:
    from tests.unit.plan.conftest import Desk


def _wrapped(function: Any) -> Any:
    """A function around another one, as tracers make it."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        wrapper.calls += 1
        return function(*args, **kwargs)

    wrapper.calls = 0
    return wrapper


PATCHES: list[tuple[Any, str]] = [
    (Task, "apply_async"),
    (Task, "shadow_name"),
    (Task, "_get_exec_options"),
    (Celery, "send_task"),
    (Celery, "producer_or_acquire"),
    (Producer, "publish"),
    (Producer, "_publish"),
    (Producer, "_prepare"),
    (kombu.transport.redis.Channel, "_put"),
    (kombu.transport.redis.Channel, "basic_publish"),
    (kombu.transport.redis.Channel, "prepare_message"),
    (kombu.transport.redis, "dumps"),
    (kombu.utils.json.JSONEncoder, "default"),
    (celery.app.base, "uuid"),
    (kombu.transport.virtual.base, "uuid"),
    (celery.app.amqp, "saferepr"),
    (celery.app.amqp, "anon_nodename"),
]


async def _compare(desk: Desk, task: Any = None, **options: Any) -> bool:
    """Send with upstream and with the twin; whether the second one went by plan."""
    task = task or desk.add
    desk.raw()
    expected = task.apply_async((1,), {"y": "z"}, **options)
    with by_upstream() as written:
        result = await task.aapply_async((1,), {"y": "z"}, **options)
    theirs, ours = sorted(desk.raw(), key=lambda raw: result.id in raw.decode())
    assert plain(ours) == plain(theirs)
    assert result.ignored == expected.ignored
    return not written


@pytest.mark.parametrize(
    ("owner", "name"), PATCHES, ids=lambda one: getattr(one, "__name__", one)
)
async def test_a_patch_is_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    await desk.learned()
    wrapper = _wrapped(getattr(owner, name))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, wrapper)
        assert not await _compare(desk)
        if name != "default":
            assert wrapper.calls >= 2
        assert not await _compare(desk)
        assert desk.plan().state is REFUSED
    # It was there before the first send, too.
    desk.plan().calls = 10**6
    await desk.learned()
    assert await _compare(desk)


async def test_a_method_of_the_task_class_is_run(desk: Desk) -> None:
    class Tenant(Task):
        def apply_async(self, *args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("headers", {})["tenant"] = "t"
            return super().apply_async(*args, **kwargs)

    task = desk.task("tenant", base=Tenant)
    for _ in range(4):
        await task.adelay(1)
    assert all(one["headers"]["tenant"] == "t" for one in desk.sent())


async def test_a_shadow_name_is_used(desk: Desk) -> None:
    def shadow_name(self: Any, args: Any, kwargs: Any, options: Any) -> str:
        return f"add {args[0]}"

    task = desk.task("shadowed", shadow_name=shadow_name)
    for number in range(4):
        await task.adelay(number)
    shadows = [one["headers"]["shadow"] for one in desk.sent()]
    assert shadows == ["add 0", "add 1", "add 2", "add 3"]


@pytest.mark.parametrize("name", ["apply_async", "shadow_name", "delay"])
async def test_a_method_of_the_task_itself_is_run(desk: Desk, name: str) -> None:
    await desk.learned()
    wrapper = _wrapped(getattr(desk.add, name))
    setattr(desk.add, name, wrapper)
    await desk.add.adelay(1)
    assert wrapper.calls == 1


@pytest.mark.parametrize("name", ["send_task", "producer_or_acquire"])
async def test_a_method_of_the_app_itself_is_run(desk: Desk, name: str) -> None:
    await desk.learned()
    wrapper = _wrapped(getattr(desk.app, name))
    setattr(desk.app, name, wrapper)
    assert not await _compare(desk)
    assert wrapper.calls == 2


@pytest.mark.parametrize("name", ["create_task_message", "send_task_message"])
async def test_a_method_of_amqp_is_run(desk: Desk, name: str) -> None:
    await desk.learned()
    wrapper = _wrapped(getattr(desk.app.amqp, name))
    setattr(desk.app.amqp, name, wrapper)
    assert not await _compare(desk)
    assert wrapper.calls == 2


async def test_a_method_of_the_app_class_is_run(make_desk: Any) -> None:
    sent: list[str] = []

    class Own(Celery):
        def send_task(self, name: str, *args: Any, **kwargs: Any) -> Any:
            sent.append(name)
            return super().send_task(name, *args, **kwargs)

    desk = make_desk(Own)
    for _ in range(4):
        await desk.add.adelay(1)
    assert sent == ["add"] * 4
    assert "send_task" in desk.plan().reason


def _route(name: str, *_: Any, **__: Any) -> dict[str, Any]:
    return {"priority": 3}


#: What may change after a plan was learned; upstream says what comes of it.
CHANGES: dict[str, Callable[[Any], object]] = {
    "ignore_result": lambda desk: setattr(desk.add, "ignore_result", True),
    "priority": lambda desk: setattr(desk.add, "priority", 5),
    "typing": lambda desk: setattr(desk.add, "typing", False),
    "limits": lambda desk: setattr(desk.add, "time_limit", 5),
    "serializer": lambda desk: setattr(desk.add, "serializer", "pickle"),
    "task_routes": lambda desk: desk.app.conf.update(
        task_routes={"add": {"priority": 3}}
    ),
    "a router": lambda desk: desk.app.conf.update(task_routes=(_route,)),
    "task_default_queue": lambda desk: desk.app.conf.update(
        task_default_queue=f"{desk.queue}2"
    ),
    "task_compression": lambda desk: desk.app.conf.update(task_compression="zlib"),
    "task_serializer": lambda desk: desk.app.conf.update(task_serializer="pickle"),
    "repr size": lambda desk: setattr(desk.app.amqp, "argsrepr_maxsize", 2),
    "repr levels": lambda desk: desk.app.conf.update(task_repr_maxlevels=1),
    "queues": lambda desk: desk.app.amqp.queues.add(
        Queue(desk.queue, Exchange(desk.queue), desk.queue, max_priority=3)
    ),
    "exec options": lambda desk: setattr(
        desk.add, "_exec_options", {**desk.add._get_exec_options(), "priority": 4}
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_noticed(desk: Desk, name: str) -> None:
    await desk.learned()
    assert await _compare(desk)
    CHANGES[name](desk)
    for _ in range(4):
        await _compare(desk)


async def test_a_route_that_is_changed_in_place_is_noticed(make_desk: Any) -> None:
    route = {"priority": 3}
    desk = make_desk(task_routes={"ad*": route})
    await desk.learned()
    assert await _compare(desk)
    route["priority"] = 6
    for _ in range(3):
        await _compare(desk)


async def test_eager_mode_switched_on_later(desk: Desk) -> None:
    await desk.learned()
    desk.app.conf.task_always_eager = True
    result = await desk.add.adelay(1, y=2)
    assert isinstance(result, EagerResult)
    assert result.get() == [1, 2] or result.get() == (1, 2)
    assert desk.raw() == []


async def test_limits_that_contradict_each_other(desk: Desk) -> None:
    await desk.learned()
    desk.add.soft_time_limit, desk.add.time_limit = 10, 5
    with pytest.raises(ValueError, match="soft_time_limit"):
        await desk.add.adelay(1)


async def test_another_result_class_is_used(desk: Desk) -> None:
    class Own(AsyncResult):
        pass

    await desk.learned()
    desk.app.AsyncResult = desk.app.subclass_with_self(Own)
    with by_upstream() as written:
        assert isinstance(await desk.add.adelay(1), Own)
    assert not written


#: Apps for which there are no plans, and a word of the reason.
REFUSED_APPS: dict[str, tuple[dict[str, Any], str]] = {
    "events": ({"task_send_sent_event": True}, "sent_event"),
    "protocol 1": ({"task_protocol": 1}, "protocol"),
    "compression": ({"task_compression": "zlib"}, ""),
    "pickle": ({"task_serializer": "pickle"}, "json"),
    "a router": ({"task_routes": (_route,)}, "router"),
    "topic": (
        {"task_default_exchange_type": "topic", "task_default_exchange": "plan-topic"},
        "bindings",
    ),
    "rpc": ({"result_backend": "rpc://"}, ""),
}


@pytest.fixture
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", REFUSED_APPS)
@pytest.mark.usefixtures("_quiet")
async def test_apps_without_plans(make_desk: Any, name: str) -> None:
    settings, word = REFUSED_APPS[name]
    desk = make_desk(**settings)
    if name == "topic":
        desk.app.amqp.queues.add(
            Queue(
                desk.queue,
                Exchange(f"{desk.prefix}x", type="topic"),
                routing_key="#",
            )
        )
    for _ in range(3):
        await desk.add.adelay(1)
    plan = desk.plan()
    assert plan.state is REFUSED
    assert word in plan.reason
    assert plan.reason


async def test_a_queue_that_is_bound_later_gets_what_is_sent_from_then_on(
    desk: Desk,
) -> None:
    exchange = Exchange(f"{desk.prefix}x", type="topic")
    desk.app.amqp.queues.add(Queue(desk.queue, exchange, routing_key="#"))
    for _ in range(3):
        await desk.add.adelay(1)
    # As another process would, which tells nobody.
    with desk.app.connection_for_write() as connection:
        late = Queue(f"{desk.queue}.late", exchange, routing_key="#")
        late(connection.default_channel).declare()
    await desk.add.adelay(1)
    lengths = [desk.client.llen(f"{desk.prefix}{q}") for q in (desk.queue, late.name)]
    assert lengths == [4, 1]


async def test_a_queue_that_expires_is_left_to_upstream(desk: Desk) -> None:
    desk.app.amqp.queues.add(
        Queue(desk.queue, desk.app.amqp.default_exchange, desk.queue, expires=30)
    )
    for _ in range(3):
        await desk.add.adelay(1)
    assert desk.plan().reason == "the send is not one LPUSH"
    assert desk.client.pttl(f"{desk.prefix}{desk.queue}") > 0


async def test_pydantic_arguments_are_left_to_upstream(desk: Desk) -> None:
    await desk.learned()
    if not hasattr(desk.add, "_dump_pydantic_arguments"):
        pytest.skip("this Celery does not dump models")
    desk.add._dump_pydantic_arguments = lambda args, kwargs: (("dumped",), kwargs)
    await desk.add.adelay(1)
    assert desk.sent()[0]["headers"]["argsrepr"] == "('dumped',)"


async def test_the_priority_of_the_running_task_is_inherited(make_desk: Any) -> None:
    from celery import _state

    desk = make_desk(task_inherit_parent_priority=True)
    outer = desk.task("outer")
    _state._task_stack.push(outer)
    for priority in (3, 3, 3, 6):
        outer.push_request(
            children=[],
            called_directly=False,
            id="P",
            root_id="R",
            delivery_info={"priority": priority},
        )
        await desk.add.adelay(1)
        outer.pop_request()
    _state._task_stack.pop()
    found = [one["properties"]["priority"] for one in desk.sent()]
    assert found == [3, 3, 3, 6]


async def test_a_registered_json_of_ones_own_is_used(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.learned()
    registry = kombu.serialization.registry
    monkeypatch.setitem(
        registry._encoders,
        "json",
        registry._encoders["json"]._replace(
            encoder=lambda data: json.dumps(data, separators=(",", ":"))
        ),
    )
    for _ in range(3):
        assert not await _compare(desk)


async def test_a_type_that_is_registered_later_is_encoded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Money:
        pass

    await desk.learned()
    monkeypatch.setitem(kombu.utils.json._encoders, Money, ("money", lambda _: 5))
    await desk.add.adelay(Money())
    desk.add.delay(Money())
    one, other = desk.sent()
    assert one["body"] == other["body"]


async def test_a_refused_shape_is_looked_at_again(desk: Desk) -> None:
    desk.app.conf.task_send_sent_event = True
    await desk.add.adelay(1)
    assert desk.plan().state is REFUSED
    desk.app.conf.task_send_sent_event = False
    for _ in range(300):
        await desk.add.adelay(1)
    assert desk.plan().state is READY


def test_what_counts_as_upstream() -> None:
    assert is_upstream(Task.apply_async)
    assert not is_upstream(_wrapped(Task.apply_async))
    assert not is_upstream(functools.partial(Task.apply_async))
    assert not is_upstream(len)
    assert not is_upstream(None)
    assert not is_upstream(test_what_counts_as_upstream)
    assert is_upstream(signals.before_task_publish.send)
