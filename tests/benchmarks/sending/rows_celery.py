# The stubs of celery know neither the twins nor its private state.
# mypy: disable-error-code="attr-defined,untyped-decorator,union-attr"
# mypy: allow-untyped-calls, allow-any-generics
"""Rows that send with Celery itself: ours, and what there was before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from celery import Celery, Task, signals
from kombu import pools

from .measure import Sender

if TYPE_CHECKING:
    from .case import Case

__all__ = (
    "native",
    "native_bulk",
    "producer_batch",
    "sync",
    "sync_in_threads",
    "thread",
    "tier",
    "trampoline",
)


class Overridden(Task):
    """Has an `apply_async` of its own, as many projects have."""

    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        return super().apply_async(*args, **kwargs)


def _inject(headers: dict[str, Any], **_: Any) -> None:
    headers["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _observe(**_: Any) -> None:
    pass


@contextmanager
def _receivers(wanted: bool) -> Iterator[None]:
    if wanted:
        signals.before_task_publish.connect(_inject)
        signals.after_task_publish.connect(_observe)
    try:
        yield
    finally:
        signals.before_task_publish.disconnect(_inject)
        signals.after_task_publish.disconnect(_observe)


@contextmanager
def _app(case: Case, base: type[Task] = Task) -> Iterator[tuple[Any, Any]]:
    app: Any = Celery("bench", set_as_current=False, broker=case.redis)
    app.conf.update(
        # What is slow on a busy machine is to be measured all the same.
        async_publish_timeout=120,
        task_default_queue=case.name,
        task_ignore_result=not case.load.backend,
        result_backend=case.redis if case.load.backend else None,
    )

    @app.task(name="noop", base=base, shared=False)
    def noop(i: int, y: str = "") -> None:
        pass

    try:
        with _receivers(case.load.receivers):
            yield app, noop
    finally:
        app.close()
        pools.reset()


@asynccontextmanager
async def _ours(
    case: Case, base: type[Task] = Task, *, drivers: bool = True
) -> AsyncIterator[tuple[Any, Any]]:
    import celery_async_bridge
    from celery_async_bridge.core import registry

    celery_async_bridge.install()
    if not drivers:
        registry.schemes()  # loads them; what comes later is not forgotten
        registry.forget("redis")
    with _app(case, base) as made:
        try:
            yield made
        finally:
            await celery_async_bridge.aclose()


def tier(load: Any) -> str:
    """How `adelay` runs in this process, as the bridge explains it."""
    import celery_async_bridge

    with _app(load) as (app, _):
        rows = celery_async_bridge.explain(app)
        return next(
            row.tier
            for row in rows
            if row.cls.endswith("Task") and row.method == "adelay"
        )


def _sender(case: Case, send: Callable[[int], Any]) -> Sender:
    return Sender(send, count=case.counted("LLEN", case.name))


@asynccontextmanager
async def native(case: Case) -> AsyncIterator[Sender]:
    """`adelay` of a plain task."""
    text = case.load.text
    async with _ours(case) as (_, noop):
        yield _sender(case, lambda number: noop.adelay(number, y=text))


@asynccontextmanager
async def native_bulk(case: Case) -> AsyncIterator[Sender]:
    """`amap_delay`: many messages in one call."""
    text = case.load.text
    async with _ours(case) as (_, noop):

        async def many(numbers: Sequence[int]) -> Any:
            return await noop.amap_delay((number, text) for number in numbers)

        yield Sender(many=many, count=case.counted("LLEN", case.name))


@asynccontextmanager
async def trampoline(case: Case) -> AsyncIterator[Sender]:
    """`adelay` of a task whose class overrides `apply_async`."""
    text = case.load.text
    async with _ours(case, Overridden) as (_, noop):
        yield _sender(case, lambda number: noop.adelay(number, y=text))


@asynccontextmanager
async def thread(case: Case) -> AsyncIterator[Sender]:
    """`adelay` where no driver is native."""
    text = case.load.text
    async with _ours(case, drivers=False) as (_, noop):
        yield _sender(case, lambda number: noop.adelay(number, y=text))


@asynccontextmanager
async def sync(case: Case) -> AsyncIterator[Sender]:
    """`delay`, which blocks the loop."""
    text = case.load.text
    with _app(case) as (_, noop):

        async def send(number: int) -> Any:
            return noop.delay(number, y=text)

        yield _sender(case, send)


@asynccontextmanager
async def sync_in_threads(case: Case) -> AsyncIterator[Sender]:
    """`delay` through asgiref, on the default threads of the loop."""
    text = case.load.text
    with _app(case) as (_, noop):
        delay = sync_to_async(noop.delay, thread_sensitive=False)
        yield _sender(case, lambda number: delay(number, y=text))


@asynccontextmanager
async def producer_batch(case: Case) -> AsyncIterator[Sender]:
    """Kombu's `Producer.batch` around `apply_async`, which blocks the loop."""
    text = case.load.text
    with _app(case) as (app, noop):

        async def many(numbers: Sequence[int]) -> Any:
            with app.producer_or_acquire() as producer, producer.batch():
                return [
                    noop.apply_async((number,), {"y": text}, producer=producer)
                    for number in numbers
                ]

        yield Sender(many=many, count=case.counted("LLEN", case.name))
