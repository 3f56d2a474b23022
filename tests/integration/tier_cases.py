"""Option sets, tasks and apps that every tier must treat as sync code does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.app.routes import MapRoute
from kombu import Exchange, Queue

from celery_async_bridge.testing.contract.app_stage import IDS
from celery_async_bridge.testing.contract.case import Case, case_table
from celery_async_bridge.testing.contract.script import call
from tests.integration.tier_stage import given

if TYPE_CHECKING:
    from celery_async_bridge.testing.contract.script import Script

__all__ = ("MORE",)

FAR = datetime(2099, 1, 1, 12, 30, 15, 250000, tzinfo=timezone.utc)


# -- options ------------------------------------------------------------------------


def _send(stage: Any, **options: Any) -> Script:
    options = {"args": (2, 3), **given(stage, options)}
    yield call(stage.tasks["add"], "apply_async", **options)


def _by_name(stage: Any, **options: Any) -> Script:
    options = {"args": (2,), "kwargs": {"y": 3}, **given(stage, options)}
    yield call(stage.app, "send_task", "not.registered", **options)


def _twice(stage: Any) -> Script:
    """Give an argument both by its place and by its name: a `TypeError`."""
    for target, name, args in (
        (stage.tasks["add"], "apply_async", ((1, 2),)),
        (stage.app, "send_task", ("contract.add", (1, 2))),
        (stage.tasks["add"].s(), "apply_async", ((1, 2),)),
    ):
        yield call(target, name, *args)
        try:
            yield call(target, name, *args, args=(3, 4))
        except TypeError as exc:
            del exc


def _s(stage: Any, *args: Any, **options: Any) -> Any:
    return stage.tasks["add"].s(*args).set(**options)


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "list_args": {"args": [2, 3]},
    "unicode": {"args": ("h\u00e9 \U0001f600 \u2028", 'a "b" \\ \x00')},
    "rich": {"args": ({"d": FAR, "t": (1, [2.5, None, True])}, b"raw \xff")},
    "yaml": {"serializer": "yaml"},
    "pickle_zlib": {"serializer": "pickle", "compression": "zlib", "task_id": IDS[1]},
    "bzip2": {"compression": "bzip2", "task_id": IDS[1]},
    "countdown_0": {"countdown": 0},
    "countdown_float": {"countdown": 12.5},
    "countdown_expires": {"countdown": 10, "expires": 60},
    "eta_naive": {"eta": FAR.replace(tzinfo=None)},
    "eta_text": {"eta": FAR.isoformat()},
    "eta_zone": {"eta": FAR.astimezone(timezone(timedelta(hours=2)))},
    "expires_float": {"expires": 60.5},
    "expires_text": {"expires": FAR.isoformat()},
    "expires_bad": {"expires": "tomorrow"},
    "priority_0": {"priority": 0},
    "priority_none": {"priority": None},
    "priority_high": {"priority": 300},
    "ranked": {"queue": lambda s: f"{s.run}.ranked", "priority": 4},
    "fanout": {"queue": lambda s: f"{s.run}.loudq"},
    "fanout_exchange": {"exchange": lambda s: f"{s.run}.loud"},
    "broadcast": {"queue": lambda s: f"{s.run}.allq"},
    "expiring_queue": {"queue": lambda s: f"{s.run}.short"},
    "two_queues": {"exchange": lambda s: f"{s.run}.direct", "routing_key": "k"},
    "routing_key": {"routing_key": "nowhere.known"},
    "exchange_object": {
        "exchange": lambda s: Exchange(f"{s.run}.direct", "direct"),
        "routing_key": "k",
    },
    "queue_object": {
        "queue": lambda s: Queue(
            s.name("fresh"), Exchange(s.name("fresh")), routing_key="f"
        )
    },
    "queue_topic_object": {
        "queue": lambda s: Queue(
            s.name("t2"), Exchange(s.name("t2x"), "topic"), routing_key="a.#"
        ),
        "routing_key": "a.b",
    },
    "declare": {"declare": lambda s: [Queue(s.name("declared"), routing_key="d")]},
    "headers_nested": {"headers": {"x": {"y": [1, "two", None]}, "task": "mine"}},
    "headers_none": {"headers": None},
    "link_routed": {"link": lambda s: _s(s, 1, queue="else", priority=3)},
    "link_dict": {"link": lambda s: dict(_s(s, 1))},
    "link_both": {"link": lambda s: [_s(s, 1)], "link_error": lambda s: [_s(s, 9)]},
    "chain": {"chain": lambda s: [_s(s, 4), _s(s, 5)]},
    "chord": {"chord": lambda s: _s(s, 4), "group_id": IDS[3]},
    "retries": {"retries": 2, "root_id": IDS[2]},
    "replaced": {"replaced_task_nesting": 2},
    "stamps_two": {"stamped_headers": ["a", "b"], "a": ["x"], "b": 7},
    "retry_off": {"retry": False, "retry_policy": None},
    "policy": {"retry_policy": {"max_retries": 0, "interval_start": 0.0}},
    "content": {"app_id": "me", "message_id": "m-1", "type": "t", "user_id": "u"},
    "expiration": {"expiration": 30},
    "time_limit": {"time_limit": 0, "soft_time_limit": None},
    "ignore_result_false": {"ignore_result": False},
    "argsrepr_one": {"argsrepr": "(hidden)"},
    "unknown_option": {"purple": True},
    "add_to_parent": {"add_to_parent": True},
    "correlation": {"correlation_id": IDS[7]},
    "mandatory": {"mandatory": True, "immediate": False},
}

BY_NAME: Mapping[str, Mapping[str, Any]] = {
    name: OPTIONS[name]
    for name in (
        "rich",
        "yaml",
        "eta_naive",
        "priority_0",
        "two_queues",
        "fanout",
        "declare",
        "headers_nested",
        "link_both",
        "chord",
        "stamps_two",
        "ignore_result_false",
    )
}


# -- tasks and apps -----------------------------------------------------------------


def _add(x: int, y: int = 0) -> int:
    return x + y


#: Name -> attributes of the task's class.
ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "serializer": {"serializer": "pickle"},
    "compression": {"compression": "zlib"},
    "priority": {"priority": 3},
    "queue": {"queue": lambda s: s.name("own")},
    "exchange": {"exchange": lambda s: f"{s.run}.direct", "routing_key": "k"},
    "expires": {"expires": 90},
    "limits": {"time_limit": 9, "soft_time_limit": 8},
    "untyped": {"typing": False},
    "delivery_mode": {"delivery_mode": 1},
    "events": {"send_events": False, "track_started": True},
    "mandatory": {"mandatory": True},
    "argsrepr": {"resultrepr_maxsize": 3},
}


def _with_attributes(stage: Any, **attributes: Any) -> Script:
    task = stage.tasks.get("own")
    if task is None:
        made = given(stage, attributes)
        task = stage.app.task(_add, shared=False, name="contract.own", **made)
        # Compressed bodies can be compared only without ids in them.
        stage.tasks["own"] = task
    yield call(task, "delay", 2, y=3)
    yield call(task, "apply_async", (2, 3), priority=1)


def _router(name: str, args: Any, kwargs: Any, options: Any, **kw: Any) -> Any:
    return {"priority": 2, "headers": {"router": name}}


class _Router:
    def route_for_task(self, name: str, args: Any = None, kwargs: Any = None) -> Any:
        return {"priority": 6}


class _Annotation:
    def annotate(self, task: Any) -> Any:
        return {"priority": 8} if task.name == "contract.add" else None


#: Name -> settings of the app.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "router_function": {"task_routes": (_router,)},
    "router_class": {"task_routes": [_Router()]},
    "router_map": {"task_routes": [MapRoute({"contract.add": {"priority": 5}})]},
    "router_pattern": {
        "task_routes": [
            ("nope.*", {"priority": 1}),
            ("contract.*", {"routing_key": "pattern", "expires": 50}),
        ]
    },
    "annotation_class": {"task_annotations": [_Annotation()]},
    "annotation_star": {"task_annotations": {"*": {"serializer": "pickle"}}},
    "default_priority": {"task_default_priority": 4, "task_queue_max_priority": 9},
    "inherit_priority": {"task_inherit_parent_priority": True},
    "local_time": {"enable_utc": False, "timezone": "Asia/Tokyo"},
    "extended": {"result_extended": True},
    "pickle": {"task_serializer": "pickle"},
    "compression": {"task_compression": "zlib"},
    "transient": {"task_default_delivery_mode": "transient"},
    "limits": {"task_soft_time_limit": 4, "task_time_limit": 5},
    "no_store": {"result_persistent": True, "task_store_errors_even_if_ignored": True},
}


def _under(stage: Any, **settings: Any) -> Script:
    if not getattr(stage, "was_set", False):
        stage.was_set = True
        stage.app.conf.update(settings)
        stage.app.amqp.__dict__.pop("router", None)
    yield call(stage.tasks["add"], "delay", 2, y=3)
    yield call(stage.tasks["add"], "apply_async", (2, 3), countdown=30)
    yield call(stage.app, "send_task", "contract.total", ([1, 2],))


MORE: tuple[Case, ...] = case_table(
    {f"more-{name}": partial(_send, **with_) for name, with_ in OPTIONS.items()},
    {f"by_name-{name}": partial(_by_name, **with_) for name, with_ in BY_NAME.items()},
    {
        f"task-{name}": partial(_with_attributes, **with_)
        for name, with_ in ATTRIBUTES.items()
    },
    {"given_twice": _twice},
    {f"app-{name}": partial(_under, **with_) for name, with_ in SETTINGS.items()},
)
