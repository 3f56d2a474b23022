"""Consuming with what the twins add: async callbacks, iteration, making on the loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import aclosing, closing
from functools import partial
from typing import Any

from ..case import Case, case_table
from ..script import Script, aside, call

__all__ = ("CONSUMING",)


class _Both:
    """One piece of a program, as sync code and as async code."""

    def __init__(
        self, sync: Callable[[], Any], twin: Callable[[], Coroutine[Any, Any, Any]]
    ) -> None:
        self.run = sync
        self.arun = twin


def _pair(sync: Any, twin: Any, *bodies: Any, **options: Any) -> Callable[..., Script]:
    def script(stage: Any) -> Script:
        queue = stage.queue()
        yield aside(stage.put, queue, *bodies, **options)
        yield call(
            _Both(partial(sync, stage, queue), partial(twin, stage, queue)), "run"
        )

    return script


class Refused(Exception):
    """What a callback raises."""


def _take(stage: Any, body: Any, message: Any) -> None:
    stage.see(body, message)


def _refuse(stage: Any, body: Any, message: Any) -> None:
    stage.seen.append(body)
    raise Refused(body)


def _consume(
    stage: Any, queue: Any, *, callback: Any, count: int, **options: Any
) -> Any:
    with stage.connection as connection:
        callbacks = [partial(callback, stage)]
        consumer = connection.Consumer([queue], callbacks=callbacks, **options)
        with consumer:
            while len(stage.seen) < count:
                connection.drain_events(timeout=10)


async def _aconsume(
    stage: Any, queue: Any, *, callback: Any, count: int, **options: Any
) -> Any:
    async def handle(body: Any, message: Any) -> None:
        if callback is _take:
            await message.aack()
            stage.seen.append(body)
        else:
            callback(stage, body, message)

    async with stage.connection as connection:
        consumer = connection.Consumer([queue], callbacks=[handle], **options)
        async with consumer:
            while len(stage.seen) < count:
                await connection.adrain_events(timeout=10)


def _consumed(callback: Any, count: int, *bodies: Any, **options: Any) -> Any:
    given = {"callback": callback, "count": count, **options}
    return _pair(partial(_consume, **given), partial(_aconsume, **given), *bodies)


def _decode_error(stage: Any, queue: Any) -> None:
    def settle(message: Any, exc: BaseException) -> None:
        stage.seen.append(type(exc).__name__)
        message.reject()

    with stage.connection as connection:
        consumer = connection.Consumer(
            [queue], callbacks=[stage.see], on_decode_error=settle, accept=["json"]
        )
        with consumer:
            connection.drain_events(timeout=10)


async def _adecode_error(stage: Any, queue: Any) -> None:
    async def settle(message: Any, exc: BaseException) -> None:
        stage.seen.append(type(exc).__name__)
        await message.areject()

    async with stage.connection as connection:
        consumer = connection.Consumer(
            [queue], callbacks=[stage.see], on_decode_error=settle, accept=["json"]
        )
        async with consumer:
            await connection.adrain_events(timeout=10)


def _simple(stage: Any, queue: Any) -> Any:
    with stage.connection as connection, closing(connection.SimpleQueue(queue)) as one:
        one.put("three")
        for settle in ("ack", "reject", "requeue"):
            message = one.get(timeout=10)
            stage.seen.append(message.payload)
            getattr(message, settle)()
        message = one.get(timeout=10)
        message.ack()
        return message.payload


async def _asimple(stage: Any, queue: Any) -> Any:
    async with stage.connection as connection, connection.SimpleQueue(queue) as one:
        await one.aput("three")
        for settle in ("aack", "areject", "arequeue"):
            message = await one.aget(timeout=10)
            stage.seen.append(message.payload)
            await getattr(message, settle)()
        message = await one.aget(timeout=10)
        await message.aack()
        return message.payload


def _each(stage: Any, queue: Any, *, no_ack: bool) -> None:
    queue.no_ack = no_ack
    with stage.connection as connection:
        one = connection.SimpleQueue(queue, no_ack=no_ack)
        for _ in range(2):
            message = one.get(timeout=10)
            stage.seen.append([message.payload, message.headers])
            if not no_ack:
                message.ack()
        one.close()


async def _aeach(stage: Any, queue: Any, *, no_ack: bool) -> None:
    queue.no_ack = no_ack
    async with (
        stage.connection as connection,
        aclosing(aiter(queue(connection))) as messages,
    ):
        async for message in messages:
            stage.seen.append([message.payload, message.headers])
            if not no_ack:
                await message.aack()
            if len(stage.seen) == 2:
                break


CONSUMING: tuple[Case, ...] = case_table(
    {
        "consume-callbacks": _consumed(_take, 3, "one", "two", "three"),
        "consume-callbacks-limited": _consumed(
            _take, 3, "one", "two", "three", prefetch_count=1
        ),
        "consume-callback-raises": _consumed(_refuse, 1, "one"),
        "consume-decode-error": _pair(
            _decode_error, _adecode_error, {"a"}, serializer="pickle"
        ),
        "consume-simple": _pair(_simple, _asimple, "one", "two"),
        "consume-iterated": _pair(
            partial(_each, no_ack=False),
            partial(_aeach, no_ack=False),
            "one",
            "two",
            headers={"h": 1},
        ),
        "consume-iterated-no-ack": _pair(
            partial(_each, no_ack=True), partial(_aeach, no_ack=True), "one", "two"
        ),
    }
)
