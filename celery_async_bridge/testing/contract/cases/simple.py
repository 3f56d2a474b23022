"""`SimpleQueue`, `SimpleBuffer` and the broadcast mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..case import Case, case_table
from ..script import Script, aside, call

__all__ = ("SIMPLE",)

Steps = tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...]


def _simple(stage: Any, *, kind: str, steps: Steps) -> Script:
    factory = {"SimpleQueue": "asimple_queue", "SimpleBuffer": "asimple_buffer"}[kind]
    queue = yield call(stage.connection, kind, stage.name(), twin=factory)
    for name, args, kwargs in steps:
        value = yield call(queue, name, *args, **kwargs)
        if kwargs.get("block") or name == "get":
            yield call(value, "ack")
    yield call(queue, "close")


def _step(name: str, *args: Any, **kwargs: Any) -> Any:
    return (name, args, kwargs)


STEPS: Mapping[str, Steps] = {
    "nothing": (),
    "put": (_step("put", {"n": 1}),),
    "put-options": (
        _step("put", {"n": 1}, serializer="pickle", headers={"h": 1}),
        _step("put", {"n": 2}, compression="zlib"),
    ),
    "get": (_step("put", 1), _step("put", 2), _step("get", timeout=2)),
    "get-all": (
        _step("put", 1),
        _step("put", 2),
        _step("get", timeout=2),
        _step("get", block=True, timeout=2),
        _step("get", timeout=0.1),
    ),
    "get-nothing": (_step("get", timeout=0.1),),
    "get-nonblocking": (_step("put", 1), _step("get", block=False)),
    "get_nowait": (_step("put", 1), _step("get_nowait")),
    "get_nowait-nothing": (_step("get_nowait"),),
    "qsize": (_step("qsize"), _step("put", 1), _step("qsize")),
    "clear": (_step("put", 1), _step("put", 2), _step("clear"), _step("qsize")),
    "close-twice": (_step("put", 1), _step("close")),
}


def _mailbox(stage: Any) -> Any:
    from kombu.pidbox import Mailbox

    mailbox: Any = Mailbox(stage.name("box"), type="fanout", accept=["json"])
    mailbox.exchange.name = stage.name("box.exchange")
    mailbox.reply_exchange.name = stage.name("box.reply")
    return mailbox(stage.connection)


def _hear(stage: Any, mailbox: Any) -> None:
    with stage.connect() as connection:
        queue = mailbox.get_queue("node-1")
        stage.names.append(queue.name)
        queue.auto_delete, queue.expires = False, None
        queue.exchange.auto_delete = False
        queue(connection.default_channel).declare()


def _cast(stage: Any) -> Script:
    mailbox = _mailbox(stage)
    yield aside(_hear, stage, mailbox)
    yield call(mailbox, "cast", ["node-1"], "do", {"x": 1})


def _abcast(stage: Any) -> Script:
    mailbox = _mailbox(stage)
    yield aside(_hear, stage, mailbox)
    yield call(mailbox, "abcast", "do", {"x": 1}, twin="aabcast")


def _call(stage: Any, *, method: str) -> Script:
    mailbox = _mailbox(stage)
    args = (["node-1"], "do") if method == "call" else ("do",)
    yield call(mailbox, method, *args, timeout=0.1)


def _node(stage: Any) -> Script:
    mailbox = _mailbox(stage)
    channel = yield call(stage.connection, "channel")
    node = mailbox.Node("node-1", channel=channel, state={"n": 1})

    @node.handler  # type: ignore[untyped-decorator]
    def add(state: Any, by: int) -> int:
        stage.seen.append(by)
        return int(state["n"] + by)

    yield call(node, "dispatch", "add", {"by": 2})
    yield call(node, "handle", "add", {"by": 3})
    yield call(node, "handle_cast", "add", {"by": 4})
    yield call(node, "dispatch", "unknown")


SIMPLE: tuple[Case, ...] = case_table(
    {
        f"{kind}-{name}": partial(_simple, kind=kind, steps=steps)
        for kind in ("SimpleQueue", "SimpleBuffer")
        for name, steps in STEPS.items()
    },
    {
        "mailbox-cast": Case("mailbox-cast", _cast, ("remote_control",)),
        "mailbox-abcast": Case("mailbox-abcast", _abcast, ("remote_control",)),
        "mailbox-call": partial(_call, method="call"),
        "mailbox-multi_call": partial(_call, method="multi_call"),
        "mailbox-node": _node,
    },
)
