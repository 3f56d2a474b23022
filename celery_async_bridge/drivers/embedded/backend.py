"""The result backend `embedded://`: a store of this process; its changes ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from celery.backends.base import KeyValueStoreBackend
from kombu.utils.encoding import ensure_bytes

from ...embedded import places
from ..memory.backend import wait_all_by, wait_by
from ..memory.notify import BOARD
from .address import name_of
from .waiting import bell_for_caller, opened

__all__ = ("EmbeddedBackend",)


_Base: Any = KeyValueStoreBackend


class EmbeddedBackend(_Base):  # type: ignore[misc]
    """Results in the memory of this process, for `result_backend="embedded://NAME"`.

    With a path for the name, results, groups and the counters of chords are in the file
    as well. Nobody waits for their commit, but an acknowledgement that follows is never
    committed without them.

    Waits are woken by what is stored, in threads as on loops: nothing polls.
    """

    implements_incr = True
    supports_autoexpire = True
    supports_native_join = True

    def __init__(
        self, app: Any, expires: Any = None, url: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(app=app, url=url, **kwargs)
        self.url = url or "embedded://"
        self.expires = self.prepare_expires(expires, type=int)
        self.name = name_of(self.url)
        #: What its waiters are told apart by from those of other stores.
        self.place = ("embedded", self.name)

    @property
    def store(self) -> Any:
        """The store; it is read first, if it is in a file.

        Raises:
            ConnectionError: it, or its file, belongs to another process.
            OSError: the file cannot be written.
            ValueError: it is not a file of `embedded://`.
        """
        found = places.store(self.name)
        opened(found.journal)
        return found

    def as_uri(self, include_password: bool = False) -> str:
        """Return the URL: there is nothing to hide in it."""
        return str(self.url)

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        options = {**(kwargs or {}), "expires": self.expires, "url": self.url}
        return super().__reduce__(args, options)

    # -- the store, as Celery uses it ----------------------------------------

    def get(self, key: Any) -> Any:
        """Return a value, or None."""
        return self.store.get(ensure_bytes(key))

    def mget(self, keys: Any) -> list[Any]:
        """Return values in the order of their keys."""
        return list(self.store.get_many(map(ensure_bytes, keys)))

    def set(self, key: Any, value: Any) -> None:
        """Store a value, and wake who waits for it."""
        key = ensure_bytes(key)
        self.store.set(key, value, self.expires)
        BOARD.ring_all((self.place, key), value)

    def delete(self, key: Any) -> None:
        """Remove a key."""
        self.store.delete(ensure_bytes(key))

    def incr(self, key: Any) -> int:
        """Count up; return the new value."""
        return int(self.store.add(ensure_bytes(key)))

    def expire(self, key: Any, value: Any) -> None:
        """Let a key go in `value` seconds; 0 and None: never."""
        self.store.expire(ensure_bytes(key), value)

    # -- waiting -------------------------------------------------------------

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> Any:
        """Return the meta of a task once it is ready.

        Raises:
            TimeoutError: (Celery's) it was not ready within `timeout` seconds.
        """
        bell = bell_for_caller()
        return wait_by(bell, self, task_id, timeout, interval, on_interval)

    def get_many(
        self,
        task_ids: Any,
        timeout: float | None = None,
        interval: float | None = 0.5,
        no_ack: bool = True,
        on_message: Callable[[Any], object] | None = None,
        on_interval: Callable[[], object] | None = None,
        max_iterations: int | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Yield id and meta of each task once it is ready.

        Raises:
            TimeoutError: (Celery's) some were not ready within `timeout` seconds.
        """
        look = _Base.get_many
        options = {"no_ack": no_ack, "on_message": on_message, **kwargs}
        if max_iterations:
            options |= {"on_interval": on_interval, "max_iterations": max_iterations}
            yield from look(self, task_ids, timeout, interval, **options)
            return
        yield from wait_all_by(
            bell_for_caller(),
            self,
            look,
            task_ids,
            timeout,
            interval,
            on_interval,
            **options,
        )
