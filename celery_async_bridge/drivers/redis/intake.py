"""What one channel takes in: claims on the way, and messages that wait for a call."""

from __future__ import annotations

import asyncio
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kombu.utils.scheduling import priority_cycle, round_robin_cycle, sorted_cycle
from redis.exceptions import ConnectionError

from ...core.trampoline import await_, current_call
from .alone import Alone
from .asking import Asked, Asking
from .fanout import Fanout
from .holding import Youth, holding_of
from .payload import payload_of
from .returns import Returns, Waiting, served
from .settling import lists_of
from .unread import bury

if TYPE_CHECKING:
    from .bell import Bell, Watch
    from .claim import Claimed
    from .consume import Desk
    from .ledger import Ledger

__all__ = ("MOST", "TURNS", "Intake", "intake_of")

_SLOT = "_bridge_intake"

#: Messages in one claim.
MOST = 64
#: Seconds that the last message of a claim should wait for its delivery.
AHEAD = 0.1
#: Seconds without a delivery after which others get what was claimed.
LINGER = 1.0
#: Seconds by which someone who is woken for nothing again and again looks later.
_NAP, _NAPS = 0.0005, 4

#: Whether a queue that was served goes to the end of the line.
TURNS = {round_robin_cycle: "1", priority_cycle: "0", sorted_cycle: "0"}


class Intake:
    """Claims for one channel on one loop.

    Arguments:
        channel: a channel of Kombu's Redis transport.
        desk: knows who waits.
        ledger: where it claims.
        bell: wakes it.
    """

    def __init__(self, channel: Any, desk: Desk, ledger: Ledger, bell: Bell) -> None:
        self._channel = weakref.ref(channel)
        self._desk = desk
        self.ledger = ledger
        self.bell = bell
        self._loop = asyncio.get_running_loop()
        #: Whether the desk will ask for a delivery.
        self.offered = False
        #: What is published to the channel's fanout queues.
        self.fanout = Fanout(channel, bell, self._offer)
        self._queues: tuple[str, ...] = ()
        self._lists: list[str] = []
        self._asking = Asking(ledger, self._claimed, self._claim_failed)
        self._watch: Watch | None = None
        self._nap: asyncio.TimerHandle | None = None
        self._naps = 0
        #: Whether there was no credit when somebody asked.
        self._starved = False
        #: How many are claimed at once, and when the last claim that got as many came.
        self._count = 1
        self._full = 0.0
        self._delivered = 0
        self._linger: asyncio.TimerHandle | None = None
        #: Why the last claim failed; the next one who asks is told.
        self.failure: BaseException | None = None
        self.closed = False
        timeout = channel.visibility_timeout
        self.returns = Returns(ledger, channel.ack_emulation, timeout)
        self.holding = holding_of(channel)
        self._youth = Youth(ledger, self.holding, timeout)
        self.holding.ledger = ledger
        self.holding.on_release = self.released
        self.holding.on_change = self.changed
        self.holding.on_settled = self._settled
        self.holding.behind = self._has_more
        ledger.mux.guests.add(self)
        vars(channel)[_SLOT] = self
        vars(channel)["_bridge_alone"] = Alone(channel, desk, ledger)

    @property
    def channel(self) -> Any:
        """The channel, or None if it is gone."""
        return self._channel()

    @property
    def here(self) -> bool:
        """Whether this runs on the thread of its loop."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def asking(self) -> bool:
        """Whether the server has still to say if there is something."""
        return self._asking.busy

    # -- what there is ----------------------------------------------------------------

    def _offer(self, count: int = 1) -> None:
        self._desk.offer(self)
        self._desk.wake(count)

    def delivers(self) -> bool:
        """Whether there is something that may be delivered now."""
        channel = self._channel()
        return bool(
            (self.returns.waiting or self.fanout.came)
            and channel is not None
            and channel.connection is not None
            and channel.qos.can_consume()
        )

    def deliver(self) -> bool:
        """Deliver one message, in a trampoline; False if there was none after all."""
        self._delivered += 1
        if self.fanout.came:
            self.fanout.deliver()
            return True
        waiting = self.returns.waiting.popleft()
        channel: Any = self._channel()
        if waiting.queue not in channel.connection._callbacks:
            self.returns.put([waiting])  # cancelled meanwhile
            return False
        message: Claimed | None = waiting.message
        noted = channel.ack_emulation
        if self._count == MOST and self._full and not self.returns.waiting:
            self._claim_ahead()
        if noted and waiting.message.tag is None:
            message = await_(self.returns.adopted(waiting))
        if message is None:
            return False
        self._hand_over(channel, waiting, message, noted)
        return True

    def _hand_over(
        self, channel: Any, waiting: Waiting, message: Claimed, noted: bool
    ) -> None:
        holding, tag = self.holding, str(message.tag)
        payload = payload_of(message.raw)
        if noted:
            holding.booked[tag] = waiting.score
            self._youth.begin()
        call = current_call()
        holding.calls.add(call)
        try:
            channel.connection._deliver(payload, waiting.queue)
        except BaseException:
            if holding.booked.pop(tag, None) is not None:
                self._not_taken(waiting.key, message, payload)
            raise
        finally:
            holding.calls.discard(call)
        if holding.booked.pop(tag, None) is None:
            return
        # A consumer without acks: it is settled by being delivered. Not one by one, but
        # when nothing is left the server shall have heard of all.
        if self._has_more():
            self.ledger.settle_behind(tag, self._settled)
        else:
            with suppress(ConnectionError):
                await_(self.ledger.settle(tag))

    def _has_more(self) -> bool:
        return bool(self.returns.waiting or self.asking) and self.ledger.mux.up

    def _settled(self, failure: BaseException | None) -> None:
        if failure is not None:
            self.failure = failure

    def _not_taken(self, key: str, message: Claimed, payload: Any) -> None:
        channel = self.channel
        try:
            channel.Message(payload, channel=channel)
        except Exception:
            bury(self.ledger, key, message)
        else:
            # The callback of a consumer without acks has failed.
            self.ledger.settle_behind(str(message.tag), self._settled)

    # -- claiming ---------------------------------------------------------------------

    def want(self, *, anew: bool) -> None:
        """See to it that there will be something.

        Arguments:
            anew: somebody has just begun to wait: look now, whatever was known before.
        """
        channel = self.channel
        queues = tuple(channel._queue_cycle.consume(len(channel.active_queues)))
        if anew or len(queues) != len(self._queues):
            self._disarm()
        if self.asking or self._watch or self._nap or not queues:
            return
        credit = self._credit()
        self._starved = credit <= 0
        if not self._starved:
            self._claim(queues, credit)

    def _claim_ahead(self) -> None:
        """Claim more with the last one of many: they are taken within no time.

        So one write carries the claim and the settlements of the last one.
        """
        channel = self.channel
        queues = tuple(channel._queue_cycle.consume(len(channel.active_queues)))
        # The one that is being delivered counts already.
        credit = self._credit() - 1
        idle = not (self.asking or self.closed)
        if idle and queues and credit > 0 and self.ledger.mux.room:
            self._claim(queues, credit)

    def _credit(self) -> int:
        qos, waiting = self.channel.qos, len(self.returns.waiting)
        limit = int(qos.prefetch_count)
        if not qos.can_consume():
            return 0
        if not limit:
            return MOST - waiting
        return limit - len(qos._delivered) + len(qos._dirty) - waiting

    def _claim(self, queues: tuple[str, ...], credit: int) -> None:
        channel = self.channel
        if queues != self._queues:
            self._queues, self._lists = queues, lists_of(channel, list(queues))
        turn = TURNS.get(type(channel._queue_cycle))
        if self._full and not self.returns.waiting:
            self._adapt(self._loop.time() - self._full)
        score, noted = time.time(), channel.ack_emulation
        # A strategy of the user's own says itself which queue is next; and what is not
        # noted must not wait here, where it may be lost.
        count = min(credit, self._count if noted and turn else 1)
        asked = Asked(queues, self._lists, score, count)
        self._asking.ask(asked, noted, turn or "0")

    def _adapt(self, took: float) -> None:
        """Claim more or less at once, by how long the last ones have waited."""
        self._full = 0.0
        if took < AHEAD / 2:
            self._count = min(self._count * 2, MOST)
        elif took > AHEAD:
            self._count = max(self._count // 2, 1)

    def _claim_failed(self, asked: Asked, failure: BaseException) -> None:
        if getattr(failure, "uncertain", False):
            self.ledger.doubtful.add(asked.score)
        self.failure = failure
        self._desk.wake(len(self._desk))

    def _claimed(self, asked: Asked, reply: list[Any]) -> None:
        channel, came = self.channel, asked.found(reply)
        if channel is None or self.closed:
            self.returns.put(came)
        elif came:
            self._keep(channel, came)
            self._naps = 0
            self._full = self._loop.time() if len(came) == asked.count else 0.0
            self._offer(len(came))
            self._wait_for_takers()
        else:
            self._found_nothing(channel, asked)

    def _keep(self, channel: Any, came: list[Waiting]) -> None:
        queues = served(came)
        try:
            for queue in queues:
                channel._queue_cycle.rotate(queue)
        except Exception as exc:
            self.failure = exc  # a strategy of the user's own
        active = set(channel._active_queues)
        if active.issuperset(queues):
            self.returns.waiting += came
            return
        self.returns.waiting += [one for one in came if one.queue in active]
        # Those of queues that were cancelled meanwhile.
        self.returns.put([one for one in came if one.queue not in active])

    def _found_nothing(self, channel: Any, asked: Asked) -> None:
        desk = self._desk
        desk.wake_urgent()
        if frozenset(asked.queues) != frozenset(channel.active_queues):
            desk.wake()
        elif desk.busy:
            self._watch = self.bell.watch(asked.lists, self._rung)

    def _rung(self) -> None:
        self._watch = None
        if not self._desk.busy:
            return
        # Peers that take every message first would have it look in vain all the time.
        naps, self._naps = self._naps, min(self._naps + 1, _NAPS)
        if naps:
            self._nap = self._loop.call_later(_NAP * 2**naps, self._rested)
        else:
            self._desk.wake()

    def _rested(self) -> None:
        self._nap = None
        self._desk.wake()

    def rest(self) -> None:
        """Nobody waits any more."""
        self._disarm()
        if self.returns.waiting:
            self._wait_for_takers()

    def _disarm(self) -> None:
        if self._watch is not None:
            self.bell.unwatch(self._watch)
            self._watch = None
        if self._nap is not None:
            self._nap.cancel()
            self._nap = None

    def released(self) -> None:
        """Look again if there was no credit."""
        if self._starved or not self.offered:
            self.changed()

    def changed(self) -> None:
        """Look again: for other queues, or with another limit."""
        if self.closed or not (self.returns.waiting or self._desk.busy):
            return
        self._desk.wake_soon(self)

    # -- the end ----------------------------------------------------------------------

    def _wait_for_takers(self) -> None:
        if self._linger is None and not self.closed:
            self._linger = self._loop.call_later(
                LINGER, self._lingered, self._delivered
            )

    def _lingered(self, delivered: int) -> None:
        self._linger = None
        if not self.returns.waiting:
            return
        if delivered == self._delivered:
            self.returns.drop()
        else:
            self._wait_for_takers()

    async def settled(self) -> None:
        """Wait until all that was put back is back."""
        while self.asking or self.returns.pending:
            await self._asking.settled()
            if self.returns.pending:
                await asyncio.wait({*self.returns.pending})
                # The callbacks of a reply come after it.
                await asyncio.sleep(0)

    async def farewell(self) -> None:
        """End: put back what waits and what is still on its way."""
        if self.returns.waiting:
            with suppress(Exception):
                await self.ledger.ready()
        self.close()
        await self.settled()

    def stop_tending(self) -> None:
        """Have nothing refreshed any more of what is ending."""
        self._desk.stop_tending()

    def close(self) -> None:
        """End; what is still on its way is put back when it comes."""
        self.closed = True
        self.stop_tending()
        self._disarm()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self.fanout.close()
        self._youth.end()
        self.returns.drop()


def intake_of(channel: Any) -> Intake | None:
    """Return what a channel takes in, if it does."""
    found: Intake | None = vars(channel).get(_SLOT)
    return found
