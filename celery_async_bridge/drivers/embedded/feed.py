"""Every state of a task, as the store rings for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..memory.backend import key_of
from ..memory.notify import BOARD, LoopBell

__all__ = ("StateFeed",)


class StateFeed:
    """Delivers the metas of tasks to those who watch; nothing is looked at in between.

    Arguments:
        backend: an `EmbeddedBackend`.
        failure: makes what a watch gets in the place of a meta.
    """

    def __init__(self, backend: Any, failure: Callable[[BaseException], Any]) -> None:
        self._backend = backend
        self._failure = failure
        self._bells: dict[str, _Bell] = {}

    def join(self, watch: Any) -> None:
        """Begin to deliver to a watch, with the states of this moment."""
        keys = {task_id: key_of(self._backend, task_id) for task_id in watch.ids}
        for task_id, key in keys.items():
            bell = self._bells[task_id] = _Bell(partial(self._look, watch, task_id))
            # First: what is stored after the look must ring.
            BOARD.join(bell, [key])
        for task_id in keys:
            self._look(watch, task_id)
        watch.asked()

    def leave(self, watch: Any) -> None:
        """Stop delivering."""
        for task_id, bell in self._bells.items():
            BOARD.leave(bell, [key_of(self._backend, task_id)])
        self._bells.clear()

    def settle(self, ids: Iterable[str]) -> None:
        """Do nothing: the store keeps what was delivered."""

    def _look(self, watch: Any, task_id: str) -> None:
        if task_id not in self._bells:
            return
        try:
            meta = self._backend.get_task_meta(task_id)
        except Exception as exc:
            meta = self._failure(exc)
        watch.offer({task_id: meta}, self._backend.READY_STATES)


class _Bell(LoopBell):
    """Has the loop look, instead of waking a coroutine that waits."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self._look = look

    def _deliver(self) -> None:
        self._look()
