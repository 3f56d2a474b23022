"""Steps that publish."""

from __future__ import annotations

import time
from typing import Any

import amqp
from amqp.exceptions import AMQPError, MessageNacked

from tests.differential.ground import Ground, nothing

__all__ = ("Publishing",)


class Publishing(Ground):
    """Publish one message or some, with and without confirmation."""

    def _message(self, properties: dict[str, Any]) -> Any:
        properties = dict(properties)
        for name in ("CC", "BCC"):
            if name in properties:
                headers = dict(properties.get("application_headers") or {})
                headers[name] = [self._key(key) for key in properties.pop(name)]
                properties["application_headers"] = headers
        self._body += 1
        return amqp.Message(f"m{self._body}", **properties)

    def publish(
        self, at: int, exchange: Any, key: Any, properties: Any, mandatory: bool
    ) -> Any:
        channel = self._channels[at]
        returned: list[Any] = []
        channel.events["basic_return"].clear()
        channel.events["basic_return"].add(
            lambda exc, name, key, message: returned.append(
                (exc.reply_code, exc.reply_text, name, key, message.body)
            )
        )
        channel.basic_publish(
            self._message(properties),
            self._exchange(exchange),
            self._key(key),
            mandatory=mandatory,
        )
        nothing(channel)
        return returned

    def burst(self, at: int, number: int, count: int, properties: Any) -> Any:
        for _ in range(count):
            self._channels[at].basic_publish(
                self._message(properties), "", self._queue(number)
            )
            if self._patience:
                # What dies of one message is where it belongs before the next one.
                nothing(self._channels[at])
                time.sleep(self._patience)
        nothing(self._channels[at])

    def publish_confirmed(
        self, exchange: Any, key: Any, properties: Any, mandatory: bool
    ) -> Any:
        channel = self._sure.channel()
        try:
            channel.basic_publish(
                self._message(properties),
                self._exchange(exchange),
                self._key(key),
                mandatory=mandatory,
            )
        except MessageNacked:
            return "nacked"
        except AMQPError as exc:
            # Without a channel of the program: none of them is gone.
            return type(exc).__name__, exc.reply_code, exc.reply_text
        finally:
            channel.close()
        return "confirmed"
