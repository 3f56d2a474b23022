"""Steps that take messages."""

from __future__ import annotations

from typing import Any

from amqp.exceptions import AMQPError

from tests.differential.ground import Ground

__all__ = ("Consuming",)


class Consuming(Ground):
    """Get, consume, cancel, prefetch."""

    def get(self, at: int, number: int, no_ack: bool) -> Any:
        message = self._channels[at].basic_get(self._queue(number), no_ack=no_ack)
        if message is None:
            return None
        if not no_ack:
            self._hold(at, self._queue(number), message)
        return self._shown(message)

    def drain(self, at: int, number: int) -> Any:
        found: list[Any] = []
        while True:
            message = self._channels[at].basic_get(self._queue(number), no_ack=True)
            if message is None:
                return found
            found.append(self._shown(message))

    def _hold(self, at: int, queue: str, message: Any) -> None:
        self._count += 1
        self._held[at].append((queue, self._count, message.delivery_tag))

    def consume(
        self,
        at: int,
        number: int,
        tag: int,
        no_ack: bool,
        exclusive: bool,
        priority: int,
    ) -> Any:
        queue, name = self._queue(number), f"{self._prefix}c{tag}"
        if name in self._consumers:
            return "in use"
        if at in self._shared and any(
            channel == at and other != queue
            for channel, other in self._consumers.values()
        ):
            return "whose turn it is would be a matter of luck"

        def callback(message: Any) -> None:
            if not no_ack:
                self._hold(at, queue, message)
            self._seen.append((name, self._shown(message)))

        def cancelled(tag: str) -> None:
            self._consumers.pop(name, None)
            self._seen.append((name, "cancelled"))

        # Messages may arrive before the answer, which names the callback.
        self._consumers[name] = (at, queue)
        self._channels[at].callbacks[name] = callback
        try:
            self._channels[at].basic_consume(
                queue,
                name,
                no_ack=no_ack,
                exclusive=exclusive,
                callback=callback,
                on_cancel=cancelled,
                arguments={"x-priority": priority} if priority else None,
            )
        except AMQPError:
            self._consumers.pop(name, None)
            raise
        return None

    def cancel(self, tag: int) -> Any:
        name = f"{self._prefix}c{tag}"
        if name not in self._consumers:
            return
        at, queue = self._consumers.pop(name)
        self._channels[at].basic_cancel(name)
        left = any(other == queue for _, other in self._consumers.values())
        if self._server and left and queue in self._singles:
            self._nudge(at, queue)

    def _nudge(self, at: int, queue: str) -> None:
        """Have a server hand out what it owes to the one that is active now."""
        tag = f"{self._prefix}nudge"
        self._channels[at].basic_consume(queue, tag)
        self._channels[at].basic_cancel(tag)

    def qos(self, at: int, count: int, shared: bool) -> Any:
        mine = {queue for channel, queue in self._consumers.values() if channel == at}
        if shared and len(mine) > 1:
            return
        if shared:
            self._shared.add(at)
        self._channels[at].basic_qos(0, count, shared)
