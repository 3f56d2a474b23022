"""Steps that change what there is."""

from __future__ import annotations

from typing import Any

from tests.differential.ground import Ground

__all__ = ("Declaring",)


class Declaring(Ground):
    """Declare, bind, delete, look."""

    def declare_queue(
        self,
        at: int,
        number: int,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: dict[str, Any],
    ) -> Any:
        arguments = dict(arguments)
        key = arguments.pop("dead-letter-key", None)
        exchange = arguments.get("x-dead-letter-exchange")
        if exchange is not None:
            arguments["x-dead-letter-exchange"] = self._exchange(exchange)
            self._rounds = 3
            if key is not None:
                arguments["x-dead-letter-routing-key"] = self._key(key)
        found = self._channels[at].queue_declare(
            self._queue(number),
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            arguments=arguments,
        )
        self._singles.discard(self._queue(number))
        if arguments.get("x-single-active-consumer"):
            self._singles.add(self._queue(number))
        self._queues.add(self._queue(number))
        return tuple(found)

    def declare_exchange(
        self, at: int, number: int, kind: str, auto_delete: bool, alternate: Any
    ) -> Any:
        arguments = {}
        if alternate is not None:
            arguments["alternate-exchange"] = self._exchange(alternate)
        self._channels[at].exchange_declare(
            self._exchange(number), kind, auto_delete=auto_delete, arguments=arguments
        )
        self._exchanges.add(self._exchange(number))

    def bind_queue(
        self, at: int, to: int, source: Any, key: str, arguments: Any
    ) -> Any:
        self._channels[at].queue_bind(
            self._queue(to), self._exchange(source), key, arguments=dict(arguments)
        )

    def unbind_queue(self, at: int, to: int, source: Any, key: str) -> Any:
        self._channels[at].queue_unbind(self._queue(to), self._exchange(source), key)

    def bind_exchange(
        self, at: int, to: int, source: Any, key: str, arguments: Any
    ) -> Any:
        if source == "amq.fanout":
            source = "missing"  # it would stay, and reach other programs
        self._channels[at].exchange_bind(
            self._exchange(to), self._exchange(source), key, arguments=dict(arguments)
        )

    def delete_queue(self, at: int, number: int, unused: bool, empty: bool) -> Any:
        return self._channels[at].queue_delete(self._queue(number), unused, empty)

    def delete_exchange(self, at: int, number: int, unused: bool) -> Any:
        self._channels[at].exchange_delete(self._exchange(number), unused)

    def purge(self, at: int, number: int) -> Any:
        return self._channels[at].queue_purge(self._queue(number))

    def look(self, at: int, number: int) -> Any:
        found = self._channels[at].queue_declare(self._queue(number), passive=True)
        return tuple(found)
