"""Remote control and events."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..app_stage import IDS
from ..case import Case, case_table
from ..script import Script, aside, call, enter

__all__ = ("CONTROL",)

#: Method of `Control` -> its arguments.
COMMANDS: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "broadcast": (("do_this",), {"arguments": {"x": 1}}),
    "revoke": ((IDS[0],), {"terminate": True}),
    "revoke_by_stamped_headers": (({"stamp": "s"},), {}),
    "terminate": ((IDS[0],), {}),
    "rate_limit": (("contract.add", "10/m"), {}),
    "time_limit": (("contract.add",), {"soft": 1, "hard": 2}),
    "add_consumer": (("some-queue",), {}),
    "cancel_consumer": (("some-queue",), {}),
    "enable_events": ((), {}),
    "disable_events": ((), {}),
    "pool_grow": ((), {"n": 2}),
    "pool_shrink": ((), {}),
    "autoscale": ((3, 1), {}),
    "pool_restart": ((), {}),
    "heartbeat": ((), {}),
    "shutdown": ((), {}),
}


def _command(stage: Any, *, name: str) -> Script:
    args, kwargs = COMMANDS[name]
    yield aside(stage.hear_control)
    yield call(stage.app.control, name, *args, **kwargs)


# One question per case: Kombu names reply queues after the address of a temporary
# object, so that two of them may or may not share one.
def _nobody(stage: Any, *, name: str) -> Script:
    if name == "broadcast":
        yield call(stage.app.control, name, "ping", reply=True, timeout=0.1)
    else:
        yield call(stage.app.control, name, timeout=0.1)


def _nobody_inspected(stage: Any, *, name: str) -> Script:
    yield call(stage.app.control.inspect(timeout=0.1), name)


def _purge(stage: Any) -> Script:
    for n in range(2):
        yield call(stage.tasks["add"], "apply_async", (n, 1))
    yield call(stage.app.control, "purge")


def _events(stage: Any) -> Script:
    yield aside(stage.hear_events)
    connection = stage.app.connection_for_write()
    yield call(connection, "connect")
    dispatcher = stage.app.events.Dispatcher(connection, hostname="h", enabled=False)
    dispatcher.producer = stage.app.amqp.Producer(
        connection, exchange=dispatcher.exchange, serializer=dispatcher.serializer
    )
    dispatcher.enabled = True
    yield call(dispatcher, "send", "task-custom", uuid=IDS[0], n=1)
    yield call(
        dispatcher,
        "publish",
        "worker-custom",
        {"n": 2},
        stage.app.amqp.Producer(connection),
    )
    yield call(connection, "release")


def _default_dispatcher(stage: Any) -> Script:
    yield aside(stage.hear_events)
    dispatcher = yield enter(stage.app.events, "default_dispatcher")
    yield call(dispatcher, "send", "task-custom", uuid=IDS[0], n=1)


CONTROL: tuple[Case, ...] = case_table(
    {
        name: Case(name, partial(_command, name=name), ("remote_control",))
        for name in COMMANDS
    },
    {
        f"nobody-answers-{name}": partial(_nobody, name=name)
        for name in ("ping", "broadcast")
    },
    {
        f"nobody-answers-inspect-{name}": partial(_nobody_inspected, name=name)
        for name in ("ping", "active")
    },
    {
        "purge": _purge,
        "events": _events,
        "events-default_dispatcher": _default_dispatcher,
    },
)
