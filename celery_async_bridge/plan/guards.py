"""What must hold for a plan to be made, and must not have changed to be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from operator import attrgetter, is_, itemgetter
from types import FunctionType
from typing import Any

from .named import Named
from .pristine import first_foreign, is_upstream
from .under import Under

__all__ = ("Guard", "Refusal", "guard_of", "watch_sender")

_TASK = ("apply_async", "delay", "shadow_name", "_get_exec_options", "_get_app")
#: What `apply_async` reads of a task, as far as the release knows it.
_TASK_READS = (
    "__header__",
    "__v2_compat__",
    "_app",
    "_dump_pydantic_arguments",
    "_exec_options",
    "ignore_result",
    "name",
    "soft_time_limit",
    "time_limit",
    "typing",
)
#: What the app does on the way, and what it still does below its `send_task`.
_APP = ("send_task", "producer_or_acquire")
_UNDER = ("producer_or_acquire",)
_APP_STATE = ("_conf", "amqp")
_AMQP = ("create_task_message", "send_task_message")
#: What `app.amqp` has computed once and keeps in its dictionary.
_AMQP_STATE = (*_AMQP, "router", "queues")
_AMQP_READS = ("_rtable", "argsrepr_maxsize", "kwargsrepr_maxsize")
_ROUTER = ("route", "expand_destination", "lookup_route", "query_router")
_PRODUCER = ("publish", "_publish", "_prepare", "_delivery_details", "maybe_declare")
_CHANNEL = (
    "basic_publish",
    "_inplace_augment_message",
    "prepare_message",
    "encode_body",
    "_next_delivery_tag",
    "_put",
    "_lookup",
    "_get_message_priority",
    "_q_for_pri",
    "typeof",
)
_QUEUE = ("name", "exchange", "routing_key", "queue_arguments", "expires")

#: Changes in a forked child: the name of the process is part of every message.
_epoch = object()


def _after_fork() -> None:
    global _epoch
    _epoch = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Refusal(Exception):
    """Only upstream's own code can do this send; the text says why."""


#: Reads something, from an owner, and what it gave when the plan was made.
Watch = tuple[Callable[[Any], Any], Any, Any]


class Guard:
    """What a plan rests on.

    Everything is compared for every send: assignments go unannounced.
    """

    __slots__ = ("_absent", "_copies", "_epoch", "_expected", "_functions", "_watches")

    def __init__(self) -> None:
        self._epoch = _epoch
        self._watches: list[Watch] = []
        #: Compared all at once: it is done for every send.
        self._functions: list[tuple[Callable[[Any], Any], Any]] = []
        self._expected: list[Any] = []
        self._copies: list[tuple[Any, Any]] = []
        self._absent: list[tuple[str, dict[str, Any]]] = []

    def watch(self, owner: Any, *names: str) -> None:
        """Rest on these attributes."""
        # Tuples compare by identity first; a single value might have an `__eq__`.
        read = attrgetter(names[0], *names[1:], "__class__")
        self._watches.append((read, owner, read(owner)))

    def watch_items(self, owner: dict[Any, Any], *keys: Any) -> None:
        """Rest on these items of a dictionary."""
        # Twice the first one, so that it is always a tuple that is read.
        read = itemgetter(keys[0], *keys)
        self._watches.append((read, owner, read(owner)))

    def watch_entry(self, owner: dict[Any, Any], key: Any) -> None:
        """Rest on one item of a dictionary that looks things up in its own way."""

        def read(found: dict[Any, Any]) -> tuple[Any]:
            return (dict.get(found, key),)

        self._watches.append((read, owner, read(owner)))

    def watch_functions(self, owner: Any, *names: str) -> None:
        """Rest on these functions being the very same ones.

        A wrapper as `wrapt` makes them is equal to what it wraps.
        """
        same = [name for name in names if type(getattr(owner, name)) is FunctionType]
        rest = [name for name in names if name not in same]
        if same:
            # Twice the first one, so that it is always a tuple that is read.
            read = attrgetter(same[0], *same)
            self._functions.append((read, owner))
            self._expected += read(owner)
        if rest:  # class methods: made anew each time they are read
            self.watch(owner, *rest)

    def watch_class_of(self, found: Any, *names: str) -> None:
        """Rest on these attributes of the class: the object itself has none."""
        self.watch_functions(type(found), *names)
        self._absent += [(name, found.__dict__) for name in names]

    def watch_content(self, live: Any) -> None:
        """Rest on the items of this dictionary or list."""
        self._copies.append((live, live.copy()))

    def holds(self) -> bool:
        """Whether everything is as it was."""
        try:
            for read, owner, expected in self._watches:
                if read(owner) != expected:
                    return False
            found: list[Any] = []
            for read, owner in self._functions:
                found += read(owner)
            if not all(map(is_, found, self._expected)):
                return False
        except (AttributeError, KeyError):
            return False
        for live, copy in self._copies:
            if live != copy:
                return False
        for name, state in self._absent:
            if name in state:
                return False
        return self._epoch is _epoch


def _require(owner: Any, names: tuple[str, ...], what: str) -> None:
    foreign = first_foreign(owner, names)
    if foreign is not None:
        raise Refusal(f"{what}.{foreign} is not upstream's own")


def _functions() -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Name the functions that a send calls without an object of its own."""
    import json
    import uuid

    import celery.app.amqp
    import celery.app.base
    import kombu.serialization
    import kombu.transport.redis
    import kombu.transport.virtual.base
    import kombu.utils.json

    yield celery.app.base, ("uuid", "maybe_list")
    yield celery.app.amqp, ("saferepr", "anon_nodename")
    yield kombu.transport.virtual.base, ("uuid",)
    yield kombu.transport.redis, ("dumps",)
    yield kombu.utils.json, ("dumps",)
    yield kombu.utils.json.JSONEncoder, ("default", "encode")
    yield json, ("dumps",)
    yield uuid, ("uuid4",)


def guard_of(task: Any, app: Any, *, nested: bool, told: bool) -> Guard:
    """Return what a plan for sends of `task` rests on.

    Arguments:
        task: the task, or what stands for one of which the name is known.
        app: its app.
        nested: the send is made while another task runs here.
        told: the result backend is told of the send.

    Raises:
        Refusal: there cannot be a plan.
    """
    conf, amqp = app.conf, app.amqp
    guard = Guard()
    named, under = isinstance(task, Named), type(task) is Under
    if not named:
        _rest_on_task(guard, task)
    elif under and task.task is not None:
        _rest_on_options(guard, task.task)
    else:
        _rest_on_name(guard, app, task.name)
    if conf.task_always_eager:
        raise Refusal("the app is eager")
    calls = _UNDER if under else _APP
    _require(app, calls, "the app")
    _require(amqp, _AMQP, "app.amqp")
    if amqp.create_task_message.__name__ != "as_task_v2":
        raise Refusal("the app does not speak protocol 2")
    if conf.task_send_sent_event:
        raise Refusal("task_send_sent_event is on")
    if nested and conf.task_inherit_parent_priority:
        raise Refusal("the priority is inherited from the running task")
    guard.watch_class_of(app, *calls)
    guard.watch_items(app.__dict__, *_APP_STATE)
    guard.watch(app, "backend_cls")
    # Read, so that they are there.
    _ = amqp.router, amqp.queues
    guard.watch_items(amqp.__dict__, *_AMQP_STATE)
    guard.watch(amqp, *_AMQP_READS)
    _watch_settings(guard, app)
    _watch_routes(guard, amqp, task.name)
    for owner, names in _functions():
        _require(owner, names, getattr(owner, "__name__", "?"))
        guard.watch_functions(owner, *names)
    _watch_json(guard)
    if told:
        _check_backend(app)
    return guard


def _watch_json(guard: Guard) -> None:
    import kombu.serialization
    import kombu.utils.json

    registry: Any = kombu.serialization.registry  # type: ignore[attr-defined]
    encoders = registry._encoders
    if encoders["json"].encoder is not kombu.utils.json.dumps:
        raise Refusal("json is not encoded by Kombu")
    guard.watch_entry(encoders, "json")


def _rest_on_task(guard: Guard, task: Any) -> None:
    _require(task, _TASK, "the task")
    reads = [name for name in _TASK_READS if hasattr(task, name)]
    guard.watch_class_of(task, *_TASK)
    guard.watch(task, *reads)
    if getattr(task, "__v2_compat__", False):
        raise Refusal("the task is a class of Celery 2")
    if getattr(task, "_dump_pydantic_arguments", None) is not None:
        raise Refusal("the task dumps Pydantic models")
    soft, hard = task.soft_time_limit, task.time_limit
    if soft and hard and soft > hard:
        raise Refusal("the time limits contradict each other")


def _rest_on_name(guard: Guard, app: Any, name: str) -> None:
    if not isinstance(app._tasks, dict):
        raise Refusal("the app has a registry of its own")
    guard.watch_entry(app._tasks, name)
    task = dict.get(app._tasks, name)
    if task is not None:
        _rest_on_options(guard, task)


def _rest_on_options(guard: Guard, task: Any) -> None:
    _require(task, ("_get_exec_options",), "the task")
    guard.watch_class_of(task, "_get_exec_options")
    guard.watch(task, "_exec_options")


def _watch_settings(guard: Guard, app: Any) -> None:
    settings = app.conf
    guard.watch_content(settings.maps)
    for found in settings.maps[:-1]:
        if isinstance(found, dict):
            guard.watch_content(found)


def _watch_routes(guard: Guard, amqp: Any, name: str) -> None:
    from celery.app import routes

    plain: Any = routes.MapRoute
    router: Any = amqp.router
    expected: Any = routes.Router
    if router.__class__ is not expected:
        raise Refusal("the app has a router of its own")
    _require(router, _ROUTER, "Router")
    guard.watch_class_of(router, *_ROUTER)
    guard.watch(router, "routes")
    guard.watch(plain, "__call__")
    if router.routes:
        guard.watch_content(router.routes)
    for route in router.routes:
        if type(route) is not plain or not is_upstream(route.__call__):
            raise Refusal("task_routes has a router that is code")
        for pattern, target in [*route.map.items(), *route.patterns.items()]:
            matches = pattern == name or (
                not isinstance(pattern, str) and pattern.match(name)
            )
            if matches and isinstance(target, dict):
                guard.watch_content(target)


def _check_backend(app: Any) -> None:
    told = app.backend.on_task_call
    if not is_upstream(told) or told.__module__ not in {
        "celery.backends.base",
        "celery.backends.redis",
    }:
        raise Refusal("the result backend wants to be told of each send")


def watch_sender(guard: Guard, producer: Any, queues: Any, declared: Any) -> None:
    """Add the producer, the channel and the queues of a send to what a plan rests on.

    Raises:
        Refusal: one of them has ways of its own.
    """
    channel = type(producer.channel)
    _require(type(producer), _PRODUCER, "Producer")
    _require(channel, _CHANNEL, "Channel")
    guard.watch_functions(type(producer), *_PRODUCER)
    guard.watch_functions(channel, *_CHANNEL)
    for queue in declared or ():
        name = getattr(queue, "name", None)
        if dict.get(queues, name) is queue:
            guard.watch_entry(queues, name)
            guard.watch(queue, *_QUEUE)
