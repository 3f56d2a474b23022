"""Tasks that are sent at the commit: when, by which thread, and when never."""

# mypy: disable-error-code="misc,override,type-arg"

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from celery import signals
from kombu.exceptions import EncodeError

pytest.importorskip("django")

from celery.contrib.django.task import DjangoTask


class Sends:
    """What was sent, and in which thread."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.threads: list[int] = []

    def note(self, body: Any, **_: Any) -> None:
        self.numbers.append(body[0][0])
        self.threads.append(threading.get_ident())


def same(number: int) -> int:
    return number


@pytest.fixture
def sends() -> Iterator[Sends]:
    found = Sends()
    signals.after_task_publish.connect(found.note)
    yield found
    signals.after_task_publish.disconnect(found.note)


def atomic(alias: str = "default", **options: Any) -> Any:
    from django.db import transaction

    return transaction.atomic(using=alias, **options)


class Island:
    """A transaction of the thread that has Django's connections."""

    def __init__(
        self, alias: str = "default", *, rolled_back: bool = False, **options: Any
    ) -> None:
        self._atomic = atomic(alias, **options)
        self._rolled_back = rolled_back

    async def __aenter__(self) -> None:
        await sync_to_async(self._atomic.__enter__)()

    async def __aexit__(self, *exc_info: Any) -> None:
        if self._rolled_back:
            exc_info = (ValueError, ValueError(), None)
        await sync_to_async(self._atomic.__exit__)(*exc_info)


async def test_without_a_transaction_it_is_sent_before_the_call_returns(
    app: Any, sends: Sends, alias: str
) -> None:
    assert await app.keep.adelay_on_commit(1) is None
    assert await app.keep.aapply_async_on_commit((2,), using=alias) is None
    assert sends.numbers == [1, 2]
    assert set(sends.threads) == {threading.get_ident()}  # natively, on the loop


async def test_in_a_transaction_it_waits_for_the_commit(
    app: Any, sends: Sends, alias: str
) -> None:
    async with Island(alias):
        await app.keep.aapply_async_on_commit((1,), using=alias, publish_timeout=5)
        await app.keep.aapply_async_on_commit(args=(2,), countdown=0, using=alias)
        assert sends.numbers == []
    assert sends.numbers == [1, 2]
    assert set(sends.threads) == {threading.get_ident()}


async def test_after_a_rollback_it_is_never_sent(
    app: Any, sends: Sends, alias: str
) -> None:
    async with Island(alias, rolled_back=True):
        await app.keep.aapply_async_on_commit((1,), using=alias)
    async with Island(alias):
        pass
    assert sends.numbers == []


async def test_a_savepoint_takes_its_own_with_it(app: Any, sends: Sends) -> None:
    async with Island():
        await app.keep.adelay_on_commit(1)
        async with Island(rolled_back=True):
            await app.keep.adelay_on_commit(2)
        await app.keep.adelay_on_commit(3)
    assert sends.numbers == [1, 3]


async def test_a_durable_transaction_is_one_like_others(
    app: Any, sends: Sends, alias: str
) -> None:
    async with Island(alias, durable=True):
        await app.keep.aapply_async_on_commit((1,), using=alias)
        assert sends.numbers == []
    assert sends.numbers == [1]

    async def inside_another() -> None:
        async with Island(alias):
            await app.keep.aapply_async_on_commit((2,), using=alias)
            async with Island(alias, durable=True):
                pass

    with pytest.raises(RuntimeError, match="durable"):
        await inside_another()
    assert sends.numbers == [1]


async def test_many_at_once_all_wait(app: Any, sends: Sends) -> None:
    async with Island():
        await asyncio.gather(*(app.keep.adelay_on_commit(n) for n in range(50)))
        assert sends.numbers == []
    assert sorted(sends.numbers) == list(range(50))


async def test_a_transaction_of_another_database_is_not_waited_for(
    app: Any, sends: Sends
) -> None:
    async with Island("other"):
        await app.keep.adelay_on_commit(1)
        assert sends.numbers == [1]
        await app.keep.aapply_async_on_commit((2,), using="other")
        assert sends.numbers == [1]
    assert sends.numbers == [1, 2]


async def test_from_the_sync_part_of_async_code(
    app: Any, sends: Sends, alias: str
) -> None:
    def part() -> list[int]:
        with atomic(alias):
            send = async_to_sync(app.keep.aapply_async_on_commit)
            send((1,), using=alias)
            return list(sends.numbers)

    assert await sync_to_async(part)() == []
    assert sends.numbers == [1]
    assert sends.threads == [threading.get_ident()]


@asynccontextmanager
async def request() -> AsyncIterator[None]:
    """What Django has around a request: a thread, whose connections it closes."""
    from django.db import connections

    async with ThreadSensitiveContext():
        try:
            yield
        finally:
            await sync_to_async(connections.close_all)()


async def test_each_request_has_a_transaction_of_its_own(
    app: Any, sends: Sends
) -> None:
    """As under ASGI, where each request has its thread."""
    opened, sent = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with request(), Island("other"):
            await app.keep.aapply_async_on_commit((1,), using="other")
            opened.set()
            await sent.wait()
            assert sends.numbers == [2]

    async def second() -> None:
        async with request():
            await opened.wait()
            await app.keep.aapply_async_on_commit((2,), using="other")
            sent.set()

    await asyncio.gather(first(), second())
    assert sends.numbers == [2, 1]


def test_from_sync_code_in_its_own_transaction(
    app: Any, sends: Sends, alias: str
) -> None:
    send = async_to_sync(app.keep.aapply_async_on_commit)
    with atomic(alias):
        send((1,), using=alias, publish_timeout=5)
        assert sends.numbers == []
    # No loop runs any more: the sync method.
    assert sends.numbers == [1]
    assert sends.threads == [threading.get_ident()]
    with suppress(ZeroDivisionError), atomic(alias):
        send((2,), using=alias)
        raise ZeroDivisionError
    assert sends.numbers == [1]


async def test_a_task_that_its_receivers_need_the_same_thread_for(
    app: Any, sends: Sends
) -> None:
    """The thread waits for the send, and serves it meanwhile."""
    asked = []

    class Asking(DjangoTask):
        async def aapply_async(self, *args: Any, **kwargs: Any) -> Any:
            asked.append(await sync_to_async(threading.get_ident)())
            return await super().aapply_async(*args, **kwargs)

    task = app.task(base=Asking, name="asking", shared=False)(same)
    async with Island():
        await task.aapply_async_on_commit((1,))
    assert sends.numbers == [1]
    assert asked == [await sync_to_async(threading.get_ident)()]


async def test_an_override_has_its_say(app: Any, sends: Sends) -> None:
    class Twice(DjangoTask):
        def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
            super().delay_on_commit(*args, **kwargs)
            super().delay_on_commit(*args, **kwargs)

    task = app.task(base=Twice, name="twice", shared=False)(same)
    async with Island():
        await task.adelay_on_commit(1)
        assert sends.numbers == []
    assert sends.numbers == [1, 1]


async def test_what_fails_at_the_commit_is_raised_there(
    app: Any, sends: Sends, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EncodeError):
        async with Island():
            await app.keep.aapply_async_on_commit((object(),))
    async with Island():
        await app.keep.aapply_async_on_commit((object(),), robust=True)
        await app.keep.adelay_on_commit(1)
    assert "keep.apply_async_on_commit" in caplog.text
    assert sends.numbers == [1]


async def test_what_fails_at_once_is_raised_by_the_call(app: Any) -> None:
    with pytest.raises(EncodeError):
        await app.keep.adelay_on_commit(object())


@pytest.mark.parametrize("name", ["delay_on_commit", "apply_async_on_commit"])
def test_the_sync_methods_are_as_ever(app: Any, sends: Sends, name: str) -> None:
    method: Callable[..., None] = getattr(app.keep, name)
    args: tuple[Any, ...] = (1,) if name == "delay_on_commit" else ((1,),)
    with atomic():
        method(*args)
        assert sends.numbers == []
    assert sends.numbers == [1]
