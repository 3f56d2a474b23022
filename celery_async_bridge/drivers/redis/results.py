"""Waiting for results: pushed by a subscription, and looked up so that none is missed.

The order is what counts: listen, wait for the ack, look into the store. Whatever is
stored before the look is found by it, and whatever comes later is heard.

A few who begin to wait are looked up on the subscription's own socket, in one packet
with the subscription: the server keeps the order. Many, or where that cannot be, are
looked up by upstream's code over the connection of the calls, after the ack.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Collection, Set
from functools import partial
from typing import Any

from ...core.loops import LoopLocal
from .address import address_of
from .asks import Ask, Asks
from .ear import Ear, ear_for
from .own_ways import is_published, is_read_plainly

__all__ = ("SAFETY", "ResultFeed", "feed_for")

#: Seconds between two looks at what should have been heard; at everything, for what
#: expired, was evicted, or was stored by somebody who does not publish.
SAFETY = 5.0
#: The same while some are not known to be subscribed.
POLLING = 0.25
#: Looks in a row that may fail before those who wait are told.
FAILURES = 3
#: Tasks in one look.
CHUNK = 500
#: The same for a look on the subscription's socket: a server cuts subscribers whose
#: replies pile up.
FEW = 100
#: Seconds that a look waits for the subscription.
ACK = 0.5

#: Fetches the metas of ids; unready ones are asked for in the second set.
Fetch = Callable[[set[str], set[str]], Awaitable[dict[str, Any]]]
#: The same from values that were read already, in the order of the ids.
Decode = Callable[[list[str], list[Any], set[str]], dict[str, Any]]


class ResultFeed:
    """Delivers metas of one backend on one loop to those who watch.

    Arguments:
        backend: says what a task's key is and decodes what is published.
        fetch: looks into the store.
        failure: makes what a watch gets in the place of a meta.
        ear: the subscriptions at the backend's server.
        decode: makes metas of what was read on the subscription's socket; None if
            nothing is to be read there.
    """

    def __init__(
        self,
        backend: Any,
        fetch: Fetch,
        failure: Callable[[BaseException], Any],
        ear: Ear,
        decode: Decode | None = None,
    ) -> None:
        self._backend = backend
        self._fetch = fetch
        self._failure = failure
        self._ear = ear
        self._decode = decode
        self._ready: Collection[str] = backend.READY_STATES
        self._watches: dict[str, set[Any]] = {}
        self._channels: dict[bytes, str] = {}
        self._channel_of: dict[str, bytes] = {}
        self._new: set[str] = set()
        #: Looked at without a subscription: what came after the look was not heard.
        self._unsure: set[str] = set()
        #: What was heard while a look is under way.
        self._heard: set[str] = set()
        self._failed = 0
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        #: Empty: what the first waiter has in its own must not live on in what serves
        #: all.
        self._context = contextvars.Context()
        #: When everything was looked at last.
        self._caught_up = self._clock()
        #: Called when the last watch has left.
        self.on_idle: Callable[[], object] = bool
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: What is asked on the subscription's socket.
        self._asks = Asks()
        self._patience: asyncio.TimerHandle | None = None

    def join(self, watch: Any) -> None:
        """Begin to deliver to a watch."""
        try:
            # First: it refuses what is no id, and then nothing may be left behind.
            channels = {task_id: self._channel(task_id) for task_id in watch.ids}
        except Exception:
            self._end_if_idle()
            raise
        for task_id, channel in channels.items():
            found = self._watches.get(task_id)
            if found is None:
                found = self._watches[task_id] = set()
                self._channels[channel] = task_id
                self._channel_of[task_id] = channel
                self._ear.listen(channel, self._hears)
            found.add(watch)
            self._new.add(task_id)
        self._ear.on_back.add(self._look_at_all)
        if self._timer is None:
            self._rest()
        if self._decode is None:
            self._wake()
        else:
            self._ear.before_writing(self._ask)

    def leave(self, watch: Any) -> None:
        """Stop delivering to a watch; the last one ends the task."""
        for task_id in list(watch.ids):
            self._drop(task_id, watch)
        self._end_if_idle()

    def settle(self, ids: set[str]) -> None:
        """Nothing is kept of what was delivered."""

    def _end_if_idle(self) -> None:
        if self._watches:
            return
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()
        self._timer = self._patience = None
        self._ear.on_back.discard(self._look_at_all)
        self.on_idle()

    def _channel(self, task_id: str) -> bytes:
        key = self._backend.get_key_for_task(task_id)
        return key if isinstance(key, bytes) else str(key).encode()

    def _drop(self, task_id: str, watch: Any) -> None:
        found = self._watches.get(task_id)
        if found is None:
            return
        found.discard(watch)
        if not found:
            del self._watches[task_id]
            self._new.discard(task_id)
            self._unsure.discard(task_id)
            self._asks.drop(task_id)
            channel = self._channel_of.pop(task_id)
            self._channels.pop(channel, None)
            self._ear.unlisten(channel, self._hears)

    def _hears(self, channel: bytes, payload: bytes) -> None:
        task_id = self._channels.get(channel)
        if task_id is None:
            return
        try:
            meta = self._backend.decode_result(payload)
            meta["status"]  # there are others who can publish
        except Exception as exc:
            meta = self._failure(exc)
        self._heard.add(task_id)
        self._deliver({task_id: meta})

    def _deliver(self, metas: dict[str, Any]) -> None:
        # All at once, so that a watch of several takes them in the order of its set, as
        # upstream does; one after the other they would come in the order of the look.
        for watch in {w for id_ in metas for w in self._watches.get(id_, ())}:
            asked = watch.ids & metas.keys()
            watch.offer(metas, self._ready)
            for task_id in asked - watch.ids:
                self._drop(task_id, watch)

    def _is_ready(self, meta: Any) -> bool:
        return isinstance(meta, dict) and meta["status"] in self._ready

    # -- the look on the subscription's socket ----------------------------------------

    def _ask(self) -> None:
        """Read what is new behind its subscription, which is about to be written."""
        ids = [id_ for id_ in self._new if id_ in self._watches]
        if not ids:
            return
        ask = Ask(ids, self._clock())
        keys = [self._channel_of[id_] for id_ in ids]
        if len(ids) > FEW or not self._ear.look(keys, partial(self._answered, ask)):
            self._wake()
            return
        self._new.clear()
        self._asks.add(ask)
        if self._patience is None:
            self._be_patient(ACK)

    def _answered(self, ask: Ask, values: list[Any] | None) -> None:
        # Who has left meanwhile, or was looked up elsewhere, has no use for it.
        live = self._asks.end(ask)
        if values is None or not self._ear.hears:
            self._new.update(live)
            self._wake()
        elif live:
            self._unsure.difference_update(live)
            found = dict(zip(ask.ids, values, strict=True))
            # Nobody above could do anything about an error.
            try:
                self._take({id_: found[id_] for id_ in live})
            except Exception as exc:
                self._deliver(dict.fromkeys(live, self._failure(exc)))

    def _take(self, found: dict[str, Any]) -> None:
        assert self._decode is not None
        _, every = self._who(found.keys())
        # Who has joined since has a look of its own under way.
        watches, _ = self._who({id_ for id_ in found if id_ not in self._asks})
        self._deliver(self._decode([*found], [*found.values()], every))
        for watch in watches:
            watch.asked()

    def _be_patient(self, seconds: float) -> None:
        self._patience = self._loop.call_later(
            seconds, self._no_answer, context=self._context
        )

    def _no_answer(self) -> None:
        """Look elsewhere for what was asked too long ago."""
        self._patience = None
        late = self._asks.take_late(self._clock() - ACK)
        if late:
            self._new |= late
            self._wake()
        oldest = self._asks.oldest
        if oldest is not None:
            self._be_patient(max(oldest + ACK - self._clock(), 0))

    # -- the look by upstream's code --------------------------------------------------

    def _wake(self) -> None:
        if self._task is None or self._task.done():
            # In an empty context, and not in the one of the timers: that one may be
            # the running one.
            empty = contextvars.Context()
            self._task = empty.run(self._loop.create_task, self._run())

    def _look_at_all(self) -> None:
        self._new.update(self._watches)
        self._wake()

    async def _run(self) -> None:
        try:
            # Not for ever: before Python 3.12 `wait_for` can swallow a cancellation.
            while self._watches:
                # What joins in this turn of the loop goes together.
                await asyncio.sleep(0)
                await self._turn()
                if not self._new:
                    self._rest()
                    return
        except asyncio.CancelledError:
            # By somebody who cancels everything; whoever still waits is not forgotten.
            if self._task is asyncio.current_task():
                self._rest()
            raise
        except Exception as exc:
            self._deliver(dict.fromkeys(self._watches, self._failure(exc)))
            self._task = None
            self._end_if_idle()

    async def _turn(self) -> None:
        all_of_them = self._left() <= 0
        if all_of_them:
            self._ear.ping()
            self._new.update(self._watches)
        new, self._new = self._new, set()
        if new:
            heard = await self._subscribed()
            new &= self._watches.keys()
            self._unsure = self._unsure - new if heard else self._unsure | new
            await self._look(new, heard)
        if all_of_them:
            self._caught_up = self._clock()

    def _left(self) -> float:
        """Return the seconds until everything is looked at again.

        Whoever joins in between does not put it off.
        """
        sure = self._ear.up and not self._unsure
        return self._caught_up + (SAFETY if sure else POLLING) - self._clock()

    async def _subscribed(self) -> bool:
        try:
            return await asyncio.wait_for(self._ear.subscribed(), ACK)
        except asyncio.TimeoutError:
            return False

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(
            max(self._left(), 0), self._time_is_up, context=self._context
        )

    def _time_is_up(self) -> None:
        if self._left() > 0:
            self._rest()
        else:
            self._wake()

    def _who(self, ids: Set[str]) -> tuple[set[Any], set[str]]:
        """Return who watches some of the tasks, and what they want every state of."""
        watches = {w for id_ in ids for w in self._watches.get(id_, ())}
        return watches, {id_ for w in watches if w.every for id_ in w.ids & ids}

    async def _look(self, ids: set[str], heard: bool) -> None:
        listed = list(ids)
        for start in range(0, len(listed), CHUNK):
            part = set(listed[start : start + CHUNK])
            watches, every = self._who(part)
            self._heard.clear()
            try:
                metas = await self._fetch(part, every)
            except Exception as exc:
                self._failed += 1
                if not heard or self._failed >= FAILURES:
                    metas = dict.fromkeys(part, self._failure(exc))
                    self._failed = 0
                else:
                    metas = {}
                    self._new |= part & self._watches.keys()
                    await asyncio.sleep(POLLING)
            else:
                self._failed = 0
                for id_ in self._heard & metas.keys():
                    # It may be older than what was heard meanwhile.
                    if not self._is_ready(metas[id_]):
                        del metas[id_]
            self._deliver(metas)
            for watch in watches:
                watch.asked()


def feed_for(
    backend: Any,
    key: Any,
    fetch: Fetch,
    failure: Callable[[BaseException], Any],
    decode: Decode | None = None,
) -> ResultFeed | None:
    """Return the running loop's feed of a backend; None if it must be polled.

    Arguments:
        backend: a result backend of Celery.
        key: identifies it, by value.
        fetch: looks into the store.
        failure: makes what a watch gets in the place of a meta.
        decode: makes metas of values that were read without the backend; None if
            its own look does more than to read them.
    """
    found = _local.get()
    feed = found.get(key)
    if feed is None:
        if not is_published(backend):
            return None
        address = address_of(backend.client.connection_pool)
        if address is None:
            return None
        if not is_read_plainly(backend):
            decode = None
        ear = ear_for(address)
        feed = found[key] = ResultFeed(backend, fetch, failure, ear, decode)
        feed.on_idle = partial(_forget, found, key, feed)
    return feed


def _forget(found: dict[Any, ResultFeed], key: Any, feed: ResultFeed) -> None:
    # A feed that was idle before may have a successor by now.
    if found.get(key) is feed:
        del found[key]


_local: LoopLocal[dict[Any, ResultFeed]] = LoopLocal(dict)
