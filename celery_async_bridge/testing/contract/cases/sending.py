"""`Task.apply_async`, `Celery.send_task` and what is built on them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any

from ..app_stage import IDS
from ..case import Case, case_table
from ..script import Script, aside, call

__all__ = ("CANVAS", "MEETING", "SENDING")

FAR = datetime(2099, 1, 1, tzinfo=timezone.utc)


def _given(stage: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value(stage) if callable(value) else value
        for name, value in options.items()
    }


def _send(stage: Any, *, task: str = "add", **options: Any) -> Script:
    options = {"args": (2, 3), **_given(stage, options)}
    yield call(stage.tasks[task], "apply_async", **options)


def _sent_by_name(stage: Any, **options: Any) -> Script:
    options = {"args": (2, 3), **_given(stage, options)}
    yield call(stage.app, "send_task", "contract.add", **options)


#: Name -> the options of one `apply_async`.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "kwargs": {"args": (2,), "kwargs": {"y": 3}},
    "queue": {"queue": lambda stage: stage.name("other")},
    "exchange": {
        "exchange": lambda stage: stage.name("topic"),
        "routing_key": "news.today",
    },
    "topic_queue": {
        "queue": lambda stage: stage.name("topical"),
        "routing_key": "news.today",
    },
    "unroutable": {
        "exchange": lambda stage: stage.name("topic"),
        "routing_key": "old.hat",
    },
    "priority": {"priority": 5},
    "countdown": {"countdown": 60},
    "eta": {"eta": FAR},
    "expires": {"expires": 60},
    "expires_at": {"expires": FAR},
    "expired": {"expires": -1},
    "pickle": {"serializer": "pickle"},
    "unknown_serializer": {"serializer": "nope"},
    "unserialisable": {"args": (object(), 1)},
    "zlib": {"compression": "zlib", "task_id": IDS[1]},
    "headers": {"headers": {"x": 1}},
    "task_id": {"task_id": IDS[0]},
    "link": {"link": lambda stage: stage.tasks["add"].s(1)},
    "link_error": {"link_error": lambda stage: stage.tasks["fail"].s()},
    "links": {
        "link": lambda stage: [stage.tasks["add"].s(1), stage.tasks["add"].si(2, 3)],
    },
    "limits": {"time_limit": 10, "soft_time_limit": 5},
    "shadow": {"shadow": "contract.shadow"},
    "ignore_result": {"ignore_result": True},
    "no_retry": {"retry": False},
    "retry_policy": {"retry": True, "retry_policy": {"max_retries": 2}},
    "no_parent": {"add_to_parent": False},
    "root": {"root_id": IDS[2], "parent_id": IDS[3]},
    "group": {"group_id": IDS[4], "group_index": 3},
    "reply_to": {"reply_to": IDS[5]},
    "stamps": {"stamped_headers": ["stamp"], "stamp": "s-1"},
    "argsrepr": {"argsrepr": "<hidden>", "kwargsrepr": "<hidden, too>"},
    "too_many_arguments": {"args": (1, 2, 3)},
    "too_few_arguments": {"args": ()},
    "ignoring_task": {"task": "ignoring"},
    "bound_task": {"task": "bound", "args": (1,)},
    "overridden": {"task": "marking"},
    "delivery_mode": {"delivery_mode": 1},
    "large": {"args": ("x" * 200_000, 1)},
}

#: Name -> settings of the app, under which a plain task is sent.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "routes": {"task_routes": {"contract.*": {"queue": "{run}.routed"}}},
    "annotations": {"task_annotations": {"contract.add": {"priority": 7}}},
    "protocol_1": {"task_protocol": 1},
    "event": {"task_send_sent_event": True},
    "eager": {"task_always_eager": True},
    "eager_stored": {"task_always_eager": True, "task_store_eager_result": True},
    "remote_tracebacks": {"task_remote_tracebacks": True},
    "publish_no_retry": {"task_publish_retry": False},
    "ignore_result": {"task_ignore_result": True},
}


def _under(stage: Any, *, settings: Mapping[str, Any]) -> Script:
    if "task_routes" in settings:
        stage.app.conf.task_routes = {"contract.*": {"queue": stage.name("routed")}}
    else:
        stage.app.conf.update(settings)
    stage.app.amqp.__dict__.pop("router", None)
    yield aside(stage.hear_events)
    yield call(stage.tasks["add"], "apply_async", (2, 3))
    yield call(stage.tasks["add"], "delay", 2, y=3)


def _delay(stage: Any) -> Script:
    yield call(stage.tasks["add"], "delay", 2, 3)
    yield call(stage.tasks["add"], "delay", 2, y=3)
    yield call(stage.tasks["add"], "delay", 1, 2, 3)


def _shared_connection(stage: Any) -> Script:
    connection = stage.app.connection_for_write()
    task = stage.tasks["add"]
    yield call(task, "apply_async", (1, 2), connection=connection)
    yield call(connection, "release")


def _shared_producer(stage: Any) -> Script:
    connection = stage.app.connection_for_write()
    producer = stage.app.amqp.Producer(connection, auto_declare=False)
    for n in range(2):
        yield call(stage.tasks["add"], "apply_async", (n, 2), producer=producer)
    yield call(connection, "release")


def _applied(stage: Any, *, task: str, args: tuple[Any, ...]) -> Script:
    yield call(stage.tasks[task], "apply", args)


def _applied_throwing(stage: Any) -> Script:
    yield call(stage.tasks["fail"], "apply", throw=True)


def _publisher(stage: Any, *, signature: str, kwargs: dict[str, Any]) -> Script:
    yield call(_signatures(stage)[signature](), "apply_async", **kwargs)


def _delayed(stage: Any, *, signature: str) -> Script:
    yield call(_signatures(stage)[signature](), "delay")


def _eagerly(stage: Any, *, signature: str) -> Script:
    yield call(_signatures(stage)[signature](), "apply")


def _signatures(stage: Any) -> dict[str, Any]:
    from celery import chain, chord, group

    add, total = stage.tasks["add"], stage.tasks["total"]
    app = stage.app
    # An empty canvas does not know its app: it is given.
    return {
        "signature": lambda: add.s(2, 3),
        "immutable": lambda: add.si(2, 3),
        "with_options": lambda: add.s(2, 3).set(priority=3, expires=60),
        "stamped": lambda: _stamped(add.s(2, 3)),
        "linked": lambda: add.s(2, 3).on_error(stage.tasks["fail"].s()),
        "chain": lambda: chain(add.s(1, 2), add.s(3), add.s(4)),
        "chain_of_one": lambda: chain(add.s(1, 2)),
        "group": lambda: group(add.s(n, n) for n in range(3)),
        "group_empty": lambda: group([], app=app),
        "chord": lambda: chord([add.s(n, n) for n in range(3)], total.s()),
        "chord_empty": lambda: chord([], total.s(), app=app),
        "group_in_chain": lambda: chain(
            add.s(1, 2), group(add.s(1), add.s(2)), total.s()
        ),
        "chain_in_group": lambda: group(chain(add.s(1, 2), add.s(3)), add.s(4, 5)),
        "chunks": lambda: add.chunks(zip(range(4), range(4), strict=True), 2),
        "map": lambda: total.map([[1, 2], [3, 4]]),
        "starmap": lambda: add.starmap([(1, 2), (3, 4)]),
        "chord_of_chains": lambda: chord(
            [chain(add.s(1, 2), add.s(3)), chain(add.s(1, 2), add.s(4))], total.s()
        ),
    }


def _stamped(signature: Any) -> Any:
    signature.stamp(by="contract")
    return signature


CANVASES = (
    "signature",
    "immutable",
    "with_options",
    "stamped",
    "linked",
    "chain",
    "chain_of_one",
    "group",
    "group_empty",
    "chord",
    "chord_empty",
    "group_in_chain",
    "chain_in_group",
    "chunks",
    "map",
    "starmap",
    "chord_of_chains",
)

CANVAS_OPTIONS: Mapping[str, dict[str, Any]] = {
    "countdown": {"countdown": 60},
    "priority": {"priority": 4},
    "task_id": {"task_id": IDS[6]},
}

SENDING: tuple[Case, ...] = case_table(
    {f"apply_async-{name}": partial(_send, **given) for name, given in OPTIONS.items()},
    {
        f"send_task-{name}": partial(_sent_by_name, **OPTIONS[name])
        for name in ("plain", "queue", "priority", "countdown", "expires", "stamps")
    },
    {
        f"setting-{name}": partial(_under, settings=given)
        for name, given in SETTINGS.items()
    },
    {
        "delay": _delay,
        "connection": _shared_connection,
        "producer": _shared_producer,
        "apply": partial(_applied, task="add", args=(2, 3)),
        "apply-failing": partial(_applied, task="fail", args=("boo",)),
        "apply-bad_arguments": partial(_applied, task="add", args=()),
        "apply-throw": _applied_throwing,
    },
)

CANVAS: tuple[Case, ...] = case_table(
    {
        f"{name}-apply_async": partial(_publisher, signature=name, kwargs={})
        for name in CANVASES
    },
    {
        f"{name}-apply_async-{option}": partial(
            _publisher, signature=name, kwargs=kwargs
        )
        for name in ("signature", "chain", "group", "chord")
        for option, kwargs in CANVAS_OPTIONS.items()
    },
    {f"{name}-delay": partial(_delayed, signature=name) for name in CANVASES},
    {
        f"{name}-apply": partial(_eagerly, signature=name)
        for name in ("signature", "chain", "group", "chord", "starmap")
    },
)

_MEETING = (
    "delay",
    "apply_async-ignore_result",
    "apply_async-link",
    "apply_async-unserialisable",
    "send_task-plain",
    "setting-event",
    "setting-eager_stored",
    "chain-apply_async",
    "group-apply_async",
    "chord-apply_async",
    "group_in_chain-delay",
)

#: The sends in which a backend takes part.
MEETING: tuple[Case, ...] = tuple(
    case for case in (*SENDING, *CANVAS) if case.name in _MEETING
)
