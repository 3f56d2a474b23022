"""Steps that give messages back, or end them."""

from __future__ import annotations

from typing import Any

from amqp import spec

from tests.differential.ground import Ground, nothing

__all__ = ("Settling",)


class Settling(Ground):
    """Acknowledge, reject, requeue, recover, close."""

    def _pick(self, at: int, index: int, multiple: bool) -> tuple[int, bool, int]:
        """Choose a message, in an order that does not depend on luck; count what goes.

        Returns:
            the tag, whether it stands for all before it, and how many those are.
        """
        held = self._held[at]
        if not held:
            return 0, False, 0
        order = sorted(held)
        queue, _, tag = order[index % len(order)]
        if multiple and {one[0] for one in held} != {queue}:
            multiple = False
        gone = [one for one in held if one[2] == tag or (multiple and one[2] < tag)]
        for one in gone:
            held.remove(one)
        return tag, multiple, len(gone)

    def _settled(self, at: int, index: int, multiple: bool, do: Any) -> Any:
        tag, multiple, count = self._pick(at, index, multiple)
        if not tag:
            return "nothing held"
        do(self._channels[at], tag, multiple)
        nothing(self._channels[at])
        return count

    def ack(self, at: int, index: int, multiple: bool) -> Any:
        return self._settled(
            at, index, multiple, lambda ch, tag, many: ch.basic_ack(tag, many)
        )

    def reject(self, at: int, index: int, multiple: bool) -> Any:
        return self._settled(
            at, index, False, lambda ch, tag, many: ch.basic_reject(tag, False)
        )

    def requeue(self, at: int, index: int, multiple: bool) -> Any:
        return self._settled(
            at, index, False, lambda ch, tag, many: ch.basic_reject(tag, True)
        )

    def nack(self, at: int, index: int, multiple: bool) -> Any:
        return self._settled(
            at, index, multiple, lambda ch, tag, many: _nack(ch, tag, many, False)
        )

    def nack_requeue(self, at: int, index: int, multiple: bool) -> Any:
        return self._settled(
            at, index, multiple, lambda ch, tag, many: _nack(ch, tag, many, True)
        )

    def pass_on(self, at: int, number: int, how: str) -> Any:
        """Get one message and give it back at once."""
        message = self._channels[at].basic_get(self._queue(number))
        if message is None:
            return None
        if how == "nack":
            _nack(self._channels[at], message.delivery_tag, False, False)
        else:
            self._channels[at].basic_reject(message.delivery_tag, how == "requeue")
        nothing(self._channels[at])
        return self._shown(message)

    def bad_ack(self, at: int, multiple: bool) -> Any:
        self._channels[at].basic_ack(987654, multiple)
        nothing(self._channels[at])

    def recover(self, at: int) -> Any:
        self._held[at] = []
        self._channels[at].basic_recover(requeue=True)
        nothing(self._channels[at])

    def close_channel(self, at: int) -> None:
        self._gone(at)
        self._channels[at].close()
        connection = self._two if at == 2 else self._one
        self._channels[at] = connection.channel()


def _nack(channel: Any, tag: int, multiple: bool, requeue: bool) -> None:
    # py-amqp reads this method and never writes it.
    channel.send_method(spec.Basic.Nack, "Lbb", (tag, multiple, requeue))
