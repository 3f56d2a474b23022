"""Carries out programs on one broker and writes down all that can be seen."""

from __future__ import annotations

import contextlib
import datetime
import time
import uuid
from collections.abc import Callable
from typing import Any

import amqp
from amqp.exceptions import AMQPError

from tests.differential.consuming import Consuming
from tests.differential.declaring import Declaring
from tests.differential.ground import nothing
from tests.differential.publishing import Publishing
from tests.differential.settling import Settling

__all__ = ("Stage",)


class Stage(Declaring, Publishing, Consuming, Settling):
    """Two connections to a broker, three channels, and the record of a program.

    Arguments:
        connect: opens a py-amqp connection; its argument is `confirm_publish`.
        pause: lets time pass, after each step of a timed program.
        vhost: the virtual host of a server, where effects take a moment to be seen;
            None for the broker of this process.
    """

    def __init__(
        self,
        connect: Callable[[bool], Any],
        pause: Callable[[], object],
        *,
        vhost: str | None = None,
    ) -> None:
        self._pause = pause
        self._server = vhost is not None
        self._vhost = vhost or "/"
        self._one, self._two = connect(False), connect(False)
        self._sure = connect(True)

    def close(self) -> None:
        for connection in (self._one, self._two, self._sure):
            connection.close()

    # -- a program -----------------------------------------------------------

    def run(self, timed: bool, steps: list[Any], patience: float = 0.0) -> list[Any]:
        """Return what each step gave, what was delivered, and what is left.

        Arguments:
            timed: whether time passes after each step.
            steps: the program.
            patience: seconds that the server gets to do what it has been told.
        """
        self._patience = patience
        self._prefix = f"d{uuid.uuid4().hex[:10]}."
        self._admin = self._one.channel()
        self._channels = [self._one.channel(), self._one.channel(), self._two.channel()]
        self._queues = set()
        self._exchanges = set()
        self._held = [[], [], []]
        self._consumers = {}
        self._shared, self._singles = set(), set()
        self._seen = []
        self._count = self._body = 0
        self._rounds = 1
        record: list[Any] = []
        try:
            for name, *args in steps:
                record.append((name, self._step(name, args, timed)))
            plain: list[Any] = self._plain(record)
            return plain
        finally:
            self._tidy()

    def _step(self, name: str, args: list[Any], timed: bool) -> Any:
        self._seen = []
        # The last of them may hear of its end while the step is answered.
        listened = bool(self._consumers)
        try:
            outcome = getattr(self, name)(*args)
        except AMQPError as exc:
            outcome = type(exc).__name__, exc.reply_code, exc.reply_text, exc.method
            self._after_error(args)
        if not (timed or self._body or self._consumers or listened):
            return outcome, [], {}  # nothing that could move
        counts = self._settle()
        if timed:
            self._pause()
            counts = self._settle()
        # Which consumer is first to hear is a matter of luck on a server.
        seen = sorted(self._seen, key=lambda item: item[0])
        return outcome, seen, counts

    def _after_error(self, args: list[Any]) -> None:
        if args and isinstance(args[0], int):
            self._gone(args[0])

    def _settle(self) -> Any:
        """Wait until the broker has done everything; return the counts.

        Each step has read an answer on its channel: what it wrote has been taken.
        """
        counts: dict[str, Any] = {}
        asked = self._channels if self._server else ()
        # A dead letter goes from queue to queue: one more round for each.
        for _ in range(self._rounds if self._server else 1):
            if self._patience:
                time.sleep(self._patience)
            counts = {}
            for name in sorted(self._queues):
                try:
                    found = self._admin.queue_declare(name, passive=True)
                    counts[name] = (found.message_count, found.consumer_count)
                except amqp.NotFound:
                    self._queues.discard(name)
                except amqp.exceptions.ResourceLocked:
                    counts[name] = "locked"
        for channel in asked:
            nothing(channel)
        for connection in (self._one, self._two):
            while True:
                try:
                    connection.drain_events(timeout=0 if not self._server else 0.0001)
                except (TimeoutError, OSError):
                    break
        return counts

    def _tidy(self) -> None:
        for channel in self._channels:
            channel.close()
        for connection in (self._one, self._two):
            channel = connection.channel()
            for name in sorted(self._queues):
                with contextlib.suppress(amqp.exceptions.ResourceLocked):
                    channel.queue_delete(name)
            channel.close()
        for name in sorted(self._exchanges):
            self._admin.exchange_delete(name)
        self._admin.close()

    def _plain(self, value: Any) -> Any:
        """Take the names of this run out of a record."""
        if isinstance(value, str):
            value = value.replace(self._prefix, "")
            return value.replace(f"vhost '{self._vhost}'", "vhost '/'")
        if isinstance(value, dict):
            return {self._plain(k): self._plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(one) for one in value]
        if isinstance(value, datetime.datetime):
            return "time"
        return [type(value).__name__, value]
