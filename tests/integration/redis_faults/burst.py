"""Many sends during which something breaks, and what must hold for each of them."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError

from tests.integration.apps import loop_gaps
from tests.integration.own_time import own_time

if TYPE_CHECKING:
    from tests.redis_servers import RedisServer

#: Seconds by which a noisy machine may miss a time that it should keep; a fault in the
#: code under test (a connect that blocks, a timeout that nobody set) takes longer.
NOISE = 1.0
#: The same for a loop that works hard; what blocks it at all, the tripwire finds.
STALL = 2.0


@dataclass
class Send:
    """One call.

    Attributes:
        number: the argument of the task.
        began: when it was made.
        ended: when it returned or raised.
        late: seconds by `own_time` from its deadline to its end, if it came to that.
        error: what it raised.
    """

    number: int
    began: float
    ended: float = 0.0
    late: float = 0.0
    error: BaseException | None = None

    def pending_in(self, window: tuple[float, float]) -> bool:
        """Whether its outcome was open at some moment of a window."""
        return self.began <= window[1] and window[0] <= self.ended


@dataclass(frozen=True)
class Outcome:
    """What became of the sends of a burst.

    Attributes:
        returned: calls that returned; each has its message.
        raised: calls that raised.
        raised_and_sent: how many of those have a message all the same.
        copies: messages beyond the first of a call.
        gap: by how much a 1 ms ticker was late at most.
    """

    returned: int
    raised: int
    raised_and_sent: int
    copies: int
    gap: float

    def __str__(self) -> str:
        return (
            f"{self.returned + self.raised} sends: {self.returned} returned, "
            f"{self.raised} raised ({self.raised_and_sent} of them sent), "
            f"{self.copies} copies, loop late by {self.gap * 1e3:.0f} ms at most"
        )


@dataclass
class Burst:
    """Sends of one app, all at once or by a number of workers.

    Attributes:
        app: an app of `tests.integration.apps`.
        options: of each send.
        sends: what was sent, by task id.
        faults: from when to when something was being broken.
        gap: by how much a 1 ms ticker was late at most.
    """

    app: Any
    options: dict[str, Any] = field(default_factory=dict)
    sends: dict[str, Send] = field(default_factory=dict)
    faults: list[tuple[float, float]] = field(default_factory=list)
    gap: float = 0.0
    done: int = 0

    async def send(self, number: int) -> Send:
        """Make one call and note how it ends."""
        task_id = str(uuid.uuid4())
        send = self.sends[task_id] = Send(number, time.monotonic())
        due: list[float] = []
        # A turn of the loop that is late itself is a matter of `gap`.
        deadline = asyncio.get_running_loop().call_later(
            self.options.get("publish_timeout", 60), lambda: due.append(own_time())
        )
        try:
            result = await self.app.add.aapply_async(
                (number, number), task_id=task_id, **self.options
            )
            assert result.id == task_id
        except OperationalError as error:
            # As an application does that goes on: thousands of frames that are kept
            # are so much for Python's collector to look at.
            send.error = error.with_traceback(None)
            error.__cause__ = error.__context__ = None
        except Exception as error:
            send.error = error
        send.ended = time.monotonic()
        deadline.cancel()
        send.late = own_time() - due[0] if due else 0.0
        self.done += 1
        return send

    async def run(
        self,
        count: int,
        *meanwhile: Callable[[], Awaitable[Any]],
        workers: int | None = None,
    ) -> None:
        """Send, and do something else meanwhile.

        Arguments:
            count: how many.
            meanwhile: what breaks things.
            workers: how many at a time; all at once by default.
        """
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await self.send(number)

        many = count if workers is None else workers
        async with loop_gaps() as gaps:
            await asyncio.gather(
                *(work() for _ in range(many)), *(breaks() for breaks in meanwhile)
            )
        self.gap = max(gaps, default=0.0)

    async def reached(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many calls have ended."""
        end = time.monotonic() + seconds
        while self.done < count:
            assert time.monotonic() < end, f"{self.done} of {count} sends"
            await asyncio.sleep(0.002)

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Note that something is broken within the block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.faults.append((began, time.monotonic()))

    @property
    def confirmed(self) -> set[str]:
        """Ids of the calls that returned."""
        return {id_ for id_, send in self.sends.items() if send.error is None}

    @property
    def errors(self) -> list[BaseException]:
        """What the other calls raised."""
        return [send.error for send in self.sends.values() if send.error is not None]

    def lost(self, servers: Iterable[RedisServer]) -> set[str]:
        """Ids of the calls that returned and whose message is nowhere."""
        found: set[str] = set()
        for server in servers:
            found.update(message["headers"]["id"] for message in messages(server))
        return self.confirmed - found

    def check(self, server: RedisServer) -> Outcome:
        """See that each call raised, or that its message is in the queue.

        Copies are those of calls that were pending at a fault, and equal.
        """
        wrong = [e for e in self.errors if not isinstance(e, OperationalError)]
        assert not wrong, "".join(traceback.format_exception(wrong[0]))
        found = messages(server)
        counts = Counter(message["headers"]["id"] for message in found)
        assert counts.keys() <= self.sends.keys(), "messages that nobody sent"
        lost = self.confirmed - counts.keys()
        assert not lost, f"{len(lost)} sends returned and have no message"
        copies = {id_ for id_, count in counts.items() if count > 1}
        certain = {
            id_
            for id_ in copies
            if not any(map(self.sends[id_].pending_in, self.faults))
        }
        assert not certain, f"{len(certain)} copies of sends that met no fault"
        texts: dict[str, set[str]] = {}
        for message in found:
            # The tag is drawn for each attempt, by upstream too.
            text = json.dumps([message["body"], message["headers"]])
            texts.setdefault(message["headers"]["id"], set()).add(text)
        assert all(len(those) == 1 for those in texts.values()), "copies that differ"
        return Outcome(
            len(self.confirmed),
            len(self.errors),
            len(counts) - len(self.confirmed),
            len(found) - len(counts),
            self.gap,
        )


def messages(server: RedisServer, db: int = 0) -> list[dict[str, Any]]:
    """All messages that lie in the queues of a server."""
    with server.admin(decode_responses=True, db=db) as admin:
        return [
            json.loads(text)
            for key in admin.scan_iter(count=1000, _type="list")
            for text in admin.lrange(key, 0, -1)
        ]


async def idle_gap(seconds: float = 0.2) -> float:
    """By how much a 1 ms ticker is late on a loop that does nothing else."""
    async with loop_gaps() as gaps:
        await asyncio.sleep(seconds)
    return max(gaps, default=0.0)
