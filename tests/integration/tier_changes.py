"""What happens between two sends, or to a message: a plan must not miss it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Task
from kombu import Exchange, Queue

from celery_async_bridge.testing.contract.app_stage import IDS
from celery_async_bridge.testing.contract.case import Case, case_table
from celery_async_bridge.testing.contract.script import call
from tests.integration.tier_stage import REPEATS

if TYPE_CHECKING:
    from celery_async_bridge.testing.contract.script import Script

__all__ = ("CHANGES", "MUTATIONS")


class _Router:
    def route_for_task(self, name: str, args: Any = None, kwargs: Any = None) -> Any:
        return {"priority": 6}


# -- changes: a plan that was learned must notice ----------------------------------


class _Marking(Task):  # type: ignore[type-arg] # not generic at run time
    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["priority"] = 9
        return super().apply_async(*args, **kwargs)


def _conf(**settings: Any) -> Callable[[Any], None]:
    return lambda stage: stage.app.conf.update(settings)


def _conf_attribute(name: str, value: Any) -> Callable[[Any], None]:
    return lambda stage: setattr(stage.app.conf, name, value)


def _conf_item(name: str, value: Any) -> Callable[[Any], None]:
    return lambda stage: stage.app.conf.__setitem__(name, value)


def _attribute(name: str, value: Any) -> Callable[[Any], None]:
    return lambda stage: setattr(stage.app.tasks["contract.add"], name, value)


def _class_attribute(name: str, value: Any) -> Callable[[Any], None]:
    return lambda stage: setattr(type(stage.app.tasks["contract.add"]), name, value)


def _overrides_instance(stage: Any) -> None:
    task = stage.app.tasks["contract.add"]
    original = task.apply_async
    task.apply_async = lambda *a, **k: original(*a, **{**k, "priority": 9})


def _overrides_delay(stage: Any) -> None:
    task = stage.app.tasks["contract.add"]
    task.delay = lambda *a, **k: task.apply_async(a, k, priority=9)


def _overrides_class(stage: Any) -> None:
    task = stage.app.tasks["contract.add"]
    task.__class__ = type("Marked", (_Marking, type(task)), {})


def _overrides_send_task(stage: Any) -> None:
    app = stage.app
    original = app.send_task
    app.send_task = lambda *a, **k: original(*a, **{**k, "priority": 9})


def _overrides_message(stage: Any) -> None:
    amqp = stage.app.amqp
    original = amqp.create_task_message

    def create(*args: Any, **kwargs: Any) -> Any:
        message = original(*args, **kwargs)
        message.headers["created"] = "here"
        return message

    amqp.create_task_message = create


def _overrides_router(stage: Any) -> None:
    router = stage.app.amqp.router
    original = router.route

    def route(options: Any, *args: Any, **kwargs: Any) -> Any:
        return {**original(options, *args, **kwargs), "priority": 9}

    router.route = route


def _new_router(stage: Any) -> None:
    stage.app.conf.task_routes = {"contract.add": {"priority": 9}}
    stage.app.amqp.__dict__.pop("router", None)


def _adds_router(stage: Any) -> None:
    router = stage.app.amqp.router
    router.routes = [_Router()]


def _shadows(stage: Any) -> None:
    stage.app.tasks["contract.add"].shadow_name = lambda *a, **k: "shadowed"


def _new_queue(stage: Any) -> None:
    name = stage.name("later")
    stage.app.amqp.queues.add(Queue(name, Exchange(name), routing_key=name))
    stage.app.conf.task_default_queue = name
    stage.app.amqp.queues.select_add(name)


def _default_queue(stage: Any) -> None:
    # Kept by amqp: upstream goes on with the old one.
    stage.app.conf.task_default_queue = stage.name("later")


def _amqp_attribute(name: str, value: Any) -> Callable[[Any], None]:
    return lambda stage: setattr(stage.app.amqp, name, value)


def _serializer_changes(stage: Any) -> None:
    stage.app.amqp.__dict__.pop("_create_task_sender", None)
    stage.app.amqp.__dict__.pop("send_task_message", None)
    stage.app.conf.task_serializer = "pickle"


#: Name -> what happens between two sends of the same kind.
BETWEEN: Mapping[str, Callable[[Any], None]] = {
    "conf-serializer": _conf(task_serializer="pickle"),
    "conf-compression": _conf(task_compression="zlib"),
    "conf-event": _conf(task_send_sent_event=True),
    "conf-protocol": _conf(task_protocol=1),
    "conf-eager": _conf(task_always_eager=True),
    "conf-ignore_result": _conf_attribute("task_ignore_result", True),
    "conf-priority": _conf_item("task_default_priority", 7),
    "conf-retry": _conf_attribute("task_publish_retry", False),
    "conf-policy": _conf_attribute("task_publish_retry_policy", {"max_retries": 0}),
    "conf-delivery_mode": _conf_attribute("task_default_delivery_mode", 1),
    "conf-timezone": _conf(enable_utc=False, timezone="Asia/Tokyo"),
    "conf-missing_queues": _conf_attribute("task_create_missing_queues", False),
    "conf-inherit": _conf_attribute("task_inherit_parent_priority", True),
    "conf-soft_limit": _conf_attribute("task_soft_time_limit", 3),
    "conf-default_queue": _default_queue,
    "conf-sender_rebuilt": _serializer_changes,
    "task-priority": _attribute("priority", 9),
    "task-serializer": _attribute("serializer", "pickle"),
    "task-compression": _attribute("compression", "zlib"),
    "task-ignore_result": _attribute("ignore_result", True),
    "task-queue": _attribute("queue", "elsewhere"),
    "task-routing_key": _attribute("routing_key", "elsewhere"),
    "task-expires": _attribute("expires", 40),
    "task-limits": _attribute("time_limit", 40),
    "task-soft_limit": _attribute("soft_time_limit", 40),
    "task-typing": _attribute("typing", False),
    "task-name": _attribute("name", "contract.renamed"),
    "task-delivery_mode": _attribute("delivery_mode", 1),
    "task-mandatory": _attribute("mandatory", True),
    "class-priority": _class_attribute("priority", 9),
    "class-expires": _class_attribute("expires", 40),
    "override-instance": _overrides_instance,
    "override-delay": _overrides_delay,
    "override-class": _overrides_class,
    "override-send_task": _overrides_send_task,
    "override-create_task_message": _overrides_message,
    "override-route": _overrides_router,
    "override-shadow_name": _shadows,
    "routes-new": _new_router,
    "routes-added": _adds_router,
    "queues-new": _new_queue,
    "amqp-argsrepr": _amqp_attribute("argsrepr_maxsize", 5),
    "amqp-utc": _amqp_attribute("utc", False),
}


def _change(stage: Any, *, between: Callable[[Any], None]) -> Script:
    task = stage.tasks["add"]
    for step in (0, 1):
        if step:
            between(stage)
        for n in range(2 if step else REPEATS):
            yield call(task, "delay", n, y=3)
            yield call(task, "apply_async", (n, 3), task_id=IDS[n])
            if not stage.app.conf.task_always_eager:  # it would only warn
                yield call(stage.app, "send_task", "contract.add", (n, 3))


CHANGES: tuple[Case, ...] = case_table(
    {name: partial(_change, between=between) for name, between in BETWEEN.items()}
)


# -- what receivers of before_task_publish do to a message --------------------------


def _traced(headers: Any, **kwargs: Any) -> None:
    headers["traceparent"] = "00-1-2-03"
    headers.setdefault("headers", {})["x"] = {"y": 1}


def _headers(headers: Any, **kwargs: Any) -> None:
    headers["argsrepr"] = "(hidden)"
    del headers["shadow"]


def _headers_nested(headers: Any, **kwargs: Any) -> None:
    headers["stamps"]["of"] = "a receiver"


def _properties(properties: Any, **kwargs: Any) -> None:
    properties["priority"] = 3
    properties["app_id"] = "a receiver's"
    properties["reply_to"] = "nobody"


def _body(body: Any, **kwargs: Any) -> None:
    _, kwargs, embedded = body
    kwargs["y"] = 40
    embedded["extra"] = [1, 2]


def _retry_policy(retry_policy: Any, **kwargs: Any) -> None:
    retry_policy.clear()
    retry_policy["max_retries"] = 7


def _declare(declare: Any, exchange: Any, **kwargs: Any) -> None:
    name = declare[0].name
    declare.append(Queue(f"{name}.more", Exchange(f"{name}.x"), routing_key="more"))


def _no_declare(declare: Any, **kwargs: Any) -> None:
    declare.clear()


def _ids(headers: Any, properties: Any, **kwargs: Any) -> None:
    headers["id"] = headers["root_id"] = properties["correlation_id"] = IDS[8]


def _unserialisable(headers: Any, **kwargs: Any) -> None:
    headers["object"] = object()


def _raising(**kwargs: Any) -> None:
    raise ValueError("a receiver's own")


#: Name -> a receiver.
MUTATIONS: Mapping[str, Callable[..., None]] = {
    "traced": _traced,
    "headers": _headers,
    "headers_nested": _headers_nested,
    "properties": _properties,
    "body": _body,
    "retry_policy": _retry_policy,
    "declare": _declare,
    "no_declare": _no_declare,
    "ids": _ids,
    "unserialisable": _unserialisable,
    "raising": _raising,
}
