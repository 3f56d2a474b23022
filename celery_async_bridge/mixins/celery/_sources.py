"""One look at a result backend, by upstream's own code, in the tier of the call."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from ._poller import Failure

__all__ = ("RpcSource", "StoreSource")

_LIMIT = "E_RETRY_LIMIT_EXCEEDED"

#: Seconds that one look of the rpc source drains the reply queue; sends, which need
#: the same thread, wait for it.
DRAIN = 0.02

#: App -> tasks of the rpc backend whose replies have been handed over. The buffers
#: belong to the thread that looks; it alone may change them.
_settled: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


class _Every(Container[str]):
    """Stands for the states that upstream lets through: all of them."""

    def __contains__(self, state: object) -> bool:
        return True


class StoreSource:
    """Looks into a backend that stores results.

    Arguments:
        backend: of the first who waits.
        own: whether the thread that looks may use its own `app.backend`.
    """

    def __init__(self, backend: Any, *, own: bool) -> None:
        self._backend = backend
        self._own = own

    def look(self, ids: set[str], every: set[str]) -> dict[str, Any]:
        """Return the metas of the ready tasks, and those there are of `every`."""
        backend = self._here()
        if _has_mget(backend):
            return self._at_once(backend, sorted(ids), every)
        return self._one_by_one(backend, ids)

    def _here(self) -> Any:
        # Backends are not thread-safe: upstream builds one per thread.
        own = self._backend.app.backend if self._own else None
        return own if type(own) is type(self._backend) else self._backend

    def _at_once(self, backend: Any, ids: list[str], every: set[str]) -> dict[str, Any]:
        def mget() -> Any:
            values = backend.mget([backend.get_key_for_task(id_) for id_ in ids])
            return values if hasattr(values, "items") else list(values)

        return self._decoded(backend, ids, _reconnecting(backend, mget), every)

    def decode(
        self, ids: list[str], values: list[Any], every: set[str]
    ) -> dict[str, Any]:
        """Return the same from what was read already, in the order of the ids."""
        return self._decoded(self._here(), ids, values, every)

    @property
    def decodes(self) -> bool:
        """Whether a look is to read the values of some keys, and to decode them."""
        return _has_mget(self._backend)

    def _decoded(
        self, backend: Any, ids: list[str], values: Any, every: set[str]
    ) -> dict[str, Any]:
        if hasattr(values, "items"):
            pairs: list[tuple[Any, list[Any]]]
            pairs = [({key: value}, [key]) for key, value in values.items()]
        else:
            pairs = [([value], [id_]) for id_, value in zip(ids, values, strict=True)]
        found: dict[str, Any] = {}
        for one, keys in pairs:
            try:
                found.update(backend._mget_to_results(one, keys, _Every()))
            except Exception as exc:  # this result cannot be decoded, others can
                found[_id_of(backend, keys[0])] = Failure(exc)
        for id_ in every - found.keys():
            found[id_] = _pending()
        return found

    def _one_by_one(self, backend: Any, ids: set[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for id_ in ids:
            if backend is not self._backend:
                # `forget` empties the caller's cache, not that of this thread.
                backend._cache.pop(id_, None)
            try:
                found[id_] = backend.get_task_meta(id_)
            except Exception as exc:
                if _is_down(backend):
                    raise
                found[id_] = Failure(exc)
        return found


def _pending() -> dict[str, Any]:
    from celery.states import PENDING

    return {"status": PENDING, "result": None}


def _id_of(backend: Any, key: Any) -> str:
    return str(backend._strip_prefix(key))


def _has_mget(backend: Any) -> bool:
    from celery.backends import base

    Base: Any = base.BaseKeyValueStoreBackend
    cls: Any = type(backend)
    if not issubclass(cls, Base) or cls.mget is Base.mget:
        return False
    # Retries and overrides of the single read are honoured by making single reads.
    plain = (
        cls.get_task_meta is Base.get_task_meta
        and cls._get_task_meta_for is Base._get_task_meta_for
    )
    return plain and (backend.is_async or not backend.always_retry)


def _reconnecting(backend: Any, look: Callable[[], Any]) -> Any:
    """Retry as the backend's own wait does when it has lost its connection."""
    ensure = getattr(backend, "ensure", None)
    lost = getattr(backend, "connection_errors", ())
    if ensure is None or not lost:
        return look()
    from celery.backends import asynchronous, redis

    # It moved in 5.7.
    home: Any = asynchronous if hasattr(asynchronous, _LIMIT) else redis
    try:
        return look()
    except lost:
        try:
            return ensure(look, ())
        except lost as exc:
            raise RuntimeError(getattr(home, _LIMIT)) from exc


def _is_down(backend: Any) -> bool:
    """Whether a read of what nobody has stored fails as well."""
    from celery.utils import uuid

    try:
        backend.get_task_meta(uuid())
    except Exception:
        return True
    return False


class RpcSource:
    """Drains the reply queue of the thread that sends; runs in that thread.

    What arrives stays in upstream's buffer until whoever waits for it has settled it:
    a reply is a message that comes once, and a wait can be cancelled at any time.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._foreign: dict[int, Any] = {}
        self._latest: dict[str, dict[str, Any]] = {}

    def note(self, backend: Any) -> None:
        """Listen on the queue of a caller's backend too; called on the loop."""
        self._foreign[id(backend)] = backend

    def look(self, ids: set[str], every: set[str]) -> dict[str, Any]:
        """Consume, drain for a moment, return what came for `ids`."""
        backends = list(self._listening())
        _drop(backends, _settled_of(self._app))
        seen: dict[str, dict[str, Any]] = {}

        def on_meta(meta: dict[str, Any]) -> None:
            seen[meta["task_id"]] = meta

        found = _buffered(backends, ids)
        for backend in backends:
            consumer = backend.result_consumer
            consumer.consume_from(next(iter(ids)))
            if not found:
                _drain(consumer, DRAIN / len(backends), on_meta)
        found |= {id_: seen[id_] for id_ in ids & seen.keys()}
        found |= _buffered(backends, ids)
        # A message comes once: between two of them, the state is the last one's.
        known = {id_: self._latest.get(id_) or _pending() for id_ in every}
        found = known | found
        self._latest = {id_: found[id_] for id_ in every}
        here = backends[0]
        return {id_: here.meta_from_decoded(dict(meta)) for id_, meta in found.items()}

    def settle(self, ids: set[str]) -> None:
        """Let the next look drop what was kept for `ids`; called on the loop."""
        _settled_of(self._app).update(ids)

    def _listening(self) -> Iterator[Any]:
        here = self._app.backend
        yield here
        for other in list(self._foreign.values()):
            # One that never named its queue has never sent; asking it would name it
            # after this thread.
            if other is not here and vars(other).get("oid", here.oid) != here.oid:
                yield other


def _buffered(backends: list[Any], ids: set[str]) -> dict[str, Any]:
    found = {}
    for backend in backends:
        for id_ in ids:
            kept = backend._pending_messages.get(id_)
            if kept:
                found[id_] = kept[-1]
    return found


def _settled_of(app: Any) -> set[str]:
    return _settled.setdefault(app, set())


def _drop(backends: list[Any], ids: set[str]) -> None:
    while ids:
        id_ = ids.pop()
        for backend in backends:
            kept = backend._pending_messages.pop(id_, ())
            backend._pending_messages.total -= len(kept)


def _drain(consumer: Any, seconds: float, on_meta: Callable[[Any], object]) -> None:
    transport = getattr(consumer._connection, "transport", None)
    end = time.monotonic() + seconds
    before, consumer.on_message = consumer.on_message, on_meta
    try:
        if getattr(transport, "polling_interval", None):
            # A virtual transport that polls would sleep for a second in between.
            time.sleep(seconds)
            end = 0.0
        while True:
            _drain_once(consumer, max(end - time.monotonic(), 0.0))
    except TimeoutError:  # what `socket.timeout` is since Python 3.10
        pass
    finally:
        consumer.on_message = before


def _drain_once(consumer: Any, seconds: float) -> None:
    connection, cls = consumer._connection, consumer.__class__
    if connection is None or _lets_timeouts_pass(cls):
        consumer.drain_events(timeout=seconds)
        return
    try:
        connection.drain_events(timeout=seconds)
    except TimeoutError:
        raise
    except consumer._connection_errors:
        # It connects again, as it would have done by itself.
        with consumer.reconnect_on_error():
            raise


@cache
def _lets_timeouts_pass(cls: Any) -> bool:
    """Whether a consumer tells that nothing came; Celery 5.6 takes it for a loss."""
    if not hasattr(cls, "reconnect_on_error"):
        return True
    probe = object.__new__(cls)
    probe._connection_errors, probe._reconnect = (OSError,), bool
    try:
        with probe.reconnect_on_error():
            raise TimeoutError
    except TimeoutError:
        return True
    return False
