"""What questions leave on a broker: reply queues, their bindings and messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kombu.pidbox import Mailbox


@contextmanager
def nothing_left(app: Any) -> Iterator[Replies]:
    """Watch the reply queues that are made in the block."""
    with pytest.MonkeyPatch.context() as patch:
        yield Replies(app, patch)


class Replies:
    """The reply queues that have been made, and what there is of them."""

    def __init__(self, app: Any, patch: pytest.MonkeyPatch) -> None:
        self.app = app
        #: Their names.
        self.queues: list[str] = []
        make = Mailbox.get_reply_queue

        def get_reply_queue(mailbox: Mailbox) -> Any:
            queue = make(mailbox)
            self.queues.append(queue.name)
            return queue

        patch.setattr(Mailbox, "get_reply_queue", get_reply_queue)

    async def gone(self) -> None:
        """Wait until nothing of them is left."""
        rest: list[Any] = []
        for _ in range(300):
            rest = await asyncio.to_thread(self._left)
            if not rest:
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"left on the broker: {rest}")

    def _left(self) -> list[Any]:
        with self.app.connection_for_read() as connection:
            if connection.transport_cls == "redis":
                client = connection.default_channel.client
                prefix = self.app.conf.broker_transport_options["global_keyprefix"]
                return [
                    key.decode()
                    # With the bindings, and the deadlines of those, if there are any.
                    for key in client.keys(f"{prefix}*reply*")
                ]
            return [name for name in self.queues if _exists(connection, name)]


def _exists(connection: Any, name: str) -> bool:
    with connection.channel() as channel:
        try:
            channel.queue_declare(name, passive=True)
        except connection.channel_errors:
            return False
    return True
