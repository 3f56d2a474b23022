"""Twins for `celery.contrib.django.task`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from .....core.offload import hand_back, offload, thread_host
from .....core.route import Route
from ...._twin import compound

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("DjangoTaskMixin",)


class DjangoTaskMixin:
    """Awaitable methods of `DjangoTask`, next to those of `Task`.

    They run in the thread that has Django's connections (asgiref's thread-sensitive
    one): only there a transaction that is open is known. At the commit the task is sent
    on the event loop for which that thread works, natively where the broker has a
    driver; where no loop runs any more, by the sync method.
    """

    def _bridge_commit_route(self) -> Route:
        return Route(endpoints=(), sensitive=True)

    @compound("delay_on_commit", route="_bridge_commit_route")
    async def adelay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Await the registration of this task for the commit of the transaction.

        Mirrors `celery.contrib.django.task.DjangoTask.delay_on_commit`. Without a
        transaction the task is sent at once; after a rollback never. A subclass that
        overrides the sync method has its own say.

        Raises:
            OperationalError: (without a transaction) the broker refused;
                `PublishTimeout` after the setting `async_publish_timeout`. In a
                transaction, its commit raises it.
        """
        await _registered(self, "delay", args, kwargs, {})

    @compound("apply_async_on_commit", route="_bridge_commit_route")
    async def aapply_async_on_commit(
        self,
        *args: Any,
        using: str | None = None,
        robust: bool = False,
        **kwargs: Any,
    ) -> None:
        """Await the registration of this task, with options, for the commit.

        Mirrors `celery.contrib.django.task.DjangoTask.apply_async_on_commit`. Without a
        transaction the task is sent at once; after a rollback never. A subclass that
        overrides the sync method has its own say.

        Arguments:
            args: those of `aapply_async`.
            using: the database whose transaction is meant; by default Django's default.
            robust: log what the broker raises at the commit, do not raise it there.
            kwargs: those of `aapply_async`, `publish_timeout` (in seconds) included.

        Raises:
            OperationalError: (without a transaction) the broker refused;
                `PublishTimeout` after the deadline. In a transaction, its commit
                raises it.
        """
        given = {
            name: value
            for name, value in (("using", using), ("robust", robust))
            if value
        }
        await _registered(self, "apply_async", args, kwargs, given)


async def _registered(
    task: Any,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: dict[str, Any],
) -> None:
    method = f"{name}_on_commit"
    if _is_overridden(task, method):
        call = partial(getattr(task, method), *args, **kwargs, **given)
    else:
        call = partial(_register, _sender(task, name, args, kwargs), given)
    await offload(task._bridge_commit_route(), call)


def _is_overridden(task: Any, method: str) -> bool:
    from celery.contrib.django.task import DjangoTask

    stock = getattr(DjangoTask, method)
    return method in vars(task) or getattr(type(task), method, None) is not stock


def _sender(
    task: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], None]:
    def send() -> None:
        if thread_host() is not None:
            hand_back(partial(getattr(task, f"a{name}"), *args, **kwargs))
            return
        # The deadline is the twin's, and there is nobody any more who awaits.
        given = dict(kwargs)
        if name == "apply_async":
            given.pop("publish_timeout", None)
        getattr(task, name)(*args, **given)

    # Not a partial: Django asks a callback that failed for its name.
    send.__qualname__ = f"{task.name}.{name}_on_commit"
    return send


def _register(send: Callable[[], None], given: dict[str, Any]) -> None:
    from django.db import transaction

    transaction.on_commit(send, **given)
