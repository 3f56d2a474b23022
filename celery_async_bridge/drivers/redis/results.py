"""Waiting for results: pushed by a subscription, and looked up so that none is missed.

The order is what counts: listen, wait for the ack, look into the store. Whatever is
stored before the look is found by it, and whatever comes later is heard.

Those who begin to wait are looked up on the subscription's own socket, the first of
them in one packet with the subscription: the server keeps the order. Where that cannot
be they are looked up by upstream's code over the connection of the calls, after the
ack.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Collection, Set
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .alarm import Alarm
from .asks import Ask, Asks

if TYPE_CHECKING:
    from .ear import Ear

__all__ = ("SAFETY", "Decode", "Fetch", "ResultFeed")

#: Seconds between two looks at what should have been heard; at everything, for what
#: expired, was evicted, or was stored by somebody who does not publish.
SAFETY = 5.0
#: The same while some are not known to be subscribed.
POLLING = 0.25
#: Looks in a row that may fail before those who wait are told.
FAILURES = 3
#: Tasks in one look.
CHUNK = 500
#: The same for a look on the subscription's socket, the next of which is made when that
#: one is answered: a server cuts subscribers whose replies pile up.
PORTION = 100
#: Seconds that a look waits for the subscription.
ACK = 0.5
#: Seconds that a feed is kept for whoever waits next.
LINGER = 0.05

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
        #: What was heard since the look that is under way began.
        self._heard: set[str] | None = None
        self._failed = 0
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        #: When everything was looked at last.
        self._caught_up = self._clock()
        #: Called when the last watch has left and no other has come.
        self.on_idle: Callable[[], object] = bool
        self._task: asyncio.Task[None] | None = None
        self._safety = Alarm(self._time_is_up)
        self._linger = Alarm(self._retire)
        #: What is asked on the subscription's socket.
        self._asks = Asks()
        self._patience = Alarm(self._no_answer)

    def join(self, watch: Any) -> None:
        """Begin to deliver to a watch."""
        try:
            # First: it refuses what is no id, and then nothing may be left behind.
            channels = {task_id: self._channel(task_id) for task_id in watch.ids}
        except Exception:
            self._end_if_idle()
            raise
        is_first = not self._watches
        # Most often it stays alone, and a turn of the loop is a tenth of what its wait
        # costs.
        at_once = is_first and self._decode is not None
        if at_once:
            self._ear.hold()
        if is_first:
            self._linger.stop()
            self._caught_up = self._clock()
            self._ear.on_back.add(self._look_at_all)
        for task_id, channel in channels.items():
            found = self._watches.get(task_id)
            if found is None:
                found = self._watches[task_id] = set()
                self._channels[channel] = task_id
                self._channel_of[task_id] = channel
                self._ear.listen(channel, self._hears)
            found.add(watch)
            self._new.add(task_id)
        if not self._safety.is_set:
            self._rest()
        if self._decode is None:
            self._wake()
        else:
            self._ear.before_writing(self._ask)
        if at_once:
            self._ear.write()

    def leave(self, watch: Any) -> None:
        """Stop delivering to a watch; the last one ends the task."""
        for task_id in watch.ids:
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
        self._failed = 0
        self._ear.on_back.discard(self._look_at_all)
        self._safety.stop()
        self._linger.set(self._clock() + LINGER)

    def _retire(self) -> None:
        if self._watches:
            return
        for alarm in (self._safety, self._patience):
            alarm.cancel()
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
        if self._heard is not None:
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
        ids = list(islice(self._new, PORTION))
        if not ids:
            return
        ask = Ask(ids, self._clock())
        keys = [self._channel_of[id_] for id_ in ids]
        if not self._ear.look(keys, partial(self._answered, ask)):
            self._wake()
            return
        self._new.difference_update(ids)
        self._asks.add(ask)
        if not self._patience.is_set:
            self._patience.set(ask.since + ACK)

    def _answered(self, ask: Ask, values: list[Any] | None) -> None:
        # Who has left meanwhile, or was looked up elsewhere, has no use for it.
        live = self._asks.end(ask)
        if values is None or not self._ear.hears:
            self._new.update(live)
            self._wake()
            return
        if self._new:
            self._ear.before_writing(self._ask)
        if live:
            self._unsure.difference_update(live)
            found = dict(zip(ask.ids, values, strict=True))
            # Nobody above could do anything about an error.
            try:
                self._take({id_: found[id_] for id_ in live})
            except Exception as exc:
                self._deliver(dict.fromkeys(live, self._failure(exc)))

    def _take(self, found: dict[str, Any]) -> None:
        assert self._decode is not None
        watches, every = self._who(found.keys())
        if self._asks:
            # Who has joined since has a look of its own under way.
            watches, _ = self._who({id_ for id_ in found if id_ not in self._asks})
        if every or any(value is not None for value in found.values()):
            self._deliver(self._decode([*found], [*found.values()], every))
        for watch in watches:
            if watch.ids.isdisjoint(self._new):
                watch.asked()

    def _no_answer(self) -> None:
        """Look elsewhere for what was asked too long ago."""
        late = self._asks.take_late(self._clock() - ACK)
        if late:
            self._new |= late
            self._wake()
        oldest = self._asks.oldest
        if oldest is not None:
            self._patience.set(oldest + ACK)

    # -- the look by upstream's code --------------------------------------------------

    def _wake(self) -> None:
        if self._task is None or self._task.done():
            # In an empty context, and not in the one of the timers: that one may be
            # the running one.
            empty = contextvars.Context()
            self._task = empty.run(self._loop.create_task, self._run())

    def _look_at_all(self) -> None:
        self._new.update(self._watches)
        if self._watches:
            self._wake()

    async def _run(self) -> None:
        try:
            # Not for ever: what connects can swallow a cancellation before Python 3.12.
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
            heard = await self._ear.subscribed(ACK)
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

    def _rest(self) -> None:
        self._safety.set(self._clock() + self._left())

    def _time_is_up(self) -> None:
        if self._left() > 0:
            self._rest()
        else:
            self._wake()

    def _who(self, ids: Set[str]) -> tuple[set[Any], set[str]]:
        """Return who watches some of the tasks, and what they want every state of."""
        watches = {w for id_ in ids for w in self._watches.get(id_, ())}
        return watches, {id_ for w in watches if w.every for id_ in w.ids & ids}

    async def _look(self, ids: set[str], subscribed: bool) -> None:
        listed, asking = list(ids), self._who(ids)[0]
        for start in range(0, len(listed), CHUNK):
            part = set(listed[start : start + CHUNK])
            _, every = self._who(part)
            heard: set[str] = set()
            self._heard = heard
            try:
                metas = await self._fetch(part, every)
            except Exception as exc:
                self._failed += 1
                if not subscribed or self._failed >= FAILURES:
                    metas = dict.fromkeys(part, self._failure(exc))
                    self._failed = 0
                else:
                    metas = {}
                    self._new |= part & self._watches.keys()
                    await asyncio.sleep(POLLING)
            else:
                self._failed = 0
                for id_ in heard & metas.keys():
                    # It may be older than what was heard meanwhile.
                    if not self._is_ready(metas[id_]):
                        del metas[id_]
            finally:
                if self._heard is heard:
                    self._heard = None
            self._deliver(metas)
        for watch in asking:
            watch.asked()
