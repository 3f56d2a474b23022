"""py-amqp's channel, talking to a broker in this process instead of a socket."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import amqp
from amqp import spec
from amqp.exceptions import (
    AMQPNotImplementedError,
    ChannelError,
    RecoverableConnectionError,
    error_for_code,
)
from kombu.transport import pyamqp
from vine import promise

from ...embedded import channel as engine
from ...embedded.arguments import period
from ...embedded.errors import Refused
from ...embedded.message import Message
from .methods import ASKS, METHODS
from .properties import body_of, copied, delay_of, properties_of, sound
from .waiting import receipt_for_caller, settled

if TYPE_CHECKING:
    from ...embedded.durable.receipt import Receipt
    from ...embedded.message import Entry

__all__ = ("Channel",)

_Sig = tuple[int, int]
_COPIES = ("CC", "BCC")


_Base: Any = pyamqp.Channel


class Channel(_Base):  # type: ignore[misc]
    """A channel whose methods are py-amqp's, up to the place where they are written.

    What is refused is raised by the call that asks for it, also where AMQP has no
    answer (`basic_publish`, `basic_ack`) and a server's refusal would come later.
    """

    #: What the broker knows of this channel.
    _at: Any = None
    #: The commit that the call which is made now has to wait for, its rows, and what
    #: it is.
    _owed: tuple[Receipt, range, _Sig] | None = None

    def __init__(self, connection: Any, *args: Any, **kwargs: Any) -> None:
        self._answers: deque[tuple[_Sig, tuple[Any, ...]]] = deque()
        super().__init__(connection, *args, **kwargs)

    # -- what py-amqp writes -------------------------------------------------

    def send_method(
        self,
        sig: _Sig,
        format: str | None = None,
        args: Any = None,
        content: Any = None,
        wait: Any = None,
        callback: Any = None,
        returns_tuple: bool = False,
    ) -> Any:
        """Do what py-amqp would write, and return what would be answered."""
        if self.connection is None:
            raise RecoverableConnectionError("connection already closed")
        answer: tuple[Any, ...] = ()
        if sig == spec.Basic.Get:
            return self._perform(sig, self._get, *args[1:])
        if sig == spec.Channel.Open:
            session = self.connection.session
            with session.broker.turn():
                self._at = engine.Channel(session, self.channel_id)
        elif sig != spec.Channel.CloseOk:
            args = sound(format or "", args or ())
            answer = self._perform(sig, self._method, sig, args)
            if self._owed is not None:
                self._settle()
            if sig == spec.Queue.Declare and not args[6]:
                # The one method whose answer py-amqp asks for in a second step.
                self._answers.append((spec.Queue.DeclareOk, answer))
        written = _written()
        if callback:
            written.then(callback)
        if not wait:
            return written
        listener = self._callbacks.get(wait)
        if listener is not None:
            listener(*answer)
        return answer if returns_tuple else (answer and answer[0])

    def _perform(self, sig: _Sig, what: Any, *args: Any) -> Any:
        connection = self.connection
        broker = connection.session.broker
        journal = broker.journal
        try:
            with broker.turn():
                if not connection.session.open:
                    raise RecoverableConnectionError("connection already closed")
                if journal is None:
                    return what(self._at, *args)
                count, row = journal.count, journal.row
                answer = what(self._at, *args)
                if journal.count != count and sig in ASKS:
                    rows = range(row + 1, journal.row + 1)
                    receipt = receipt_for_caller()
                    journal.ask(receipt)
                    self._owed = (receipt, rows, sig)
                return answer
        except Refused as exc:
            refused = exc
        if refused.hard:
            connection.collect()
            raise error_for_code(
                refused.code, refused.text, sig, amqp.ConnectionError
            ) from None
        with connection.session.broker.turn():
            self._at.close()
        self._do_revive()
        raise error_for_code(refused.code, refused.text, sig, ChannelError) from None

    def _settle(self) -> None:
        """Wait until what a call has changed is on the disk, if it lasts.

        Raises:
            ResourceError: it cannot be written; a message that nobody has got yet is
                taken back.
        """
        owed, self._owed = self._owed, None
        if owed is None:
            return
        receipt, rows, sig = owed
        try:
            settled(receipt)
        except OSError as exc:
            if sig == spec.Basic.Publish:
                self._at.take_back(rows)
            raise error_for_code(
                506, f"RESOURCE_ERROR - {exc}", sig, amqp.ConnectionError
            ) from exc

    def _method(self, at: engine.Channel, sig: _Sig, args: list[Any]) -> Any:
        try:
            method = METHODS[sig]
        except KeyError:
            raise AMQPNotImplementedError(
                "embedded:// has no transactions and no flow control: use confirms "
                "and basic_qos",
                sig,
            ) from None
        return method(at, *args)

    # -- messages ------------------------------------------------------------

    def _basic_publish(
        self,
        msg: Any,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        immediate: bool = False,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        argsig: str = "Bssbb",
    ) -> Any:
        """Publish; nothing is read meanwhile, and nothing can be waited for."""
        if not self.connection:
            raise RecoverableConnectionError("basic_publish: connection closed")
        args = (msg, exchange, routing_key, mandatory, immediate)
        self._perform(spec.Basic.Publish, self._publish, *args)
        return _written()

    def basic_publish(self, *args: Any, **kwargs: Any) -> Any:
        """Publish, and wait until what lasts is on the disk.

        Raises:
            ResourceError: it cannot be written there.
        """
        self._owed = None
        written = self._basic_publish(*args, **kwargs)
        if self._owed is not None:
            self._settle()
        return written

    def basic_publish_confirm(self, *args: Any, **kwargs: Any) -> Any:
        """Publish in confirm mode, and wait likewise.

        Raises:
            MessageNacked: a queue has refused it.
            ResourceError: it cannot be written to the disk.
        """
        # Its answers are read before it waits: another call may come meanwhile.
        self._owed = None
        written = super().basic_publish_confirm(*args, **kwargs)
        if self._owed is not None:
            self._settle()
        return written

    def _publish(
        self,
        at: engine.Channel,
        content: Any,
        exchange: str,
        key: str,
        mandatory: bool,
        immediate: bool,
    ) -> None:
        if len(key) > 60 or len(exchange) > 60:
            sound("ss", (exchange, key))
        if immediate:
            raise Refused(540, "immediate=true")
        properties = properties_of(content)
        body = body_of(content, properties)
        if "expiration" in properties:
            _check(properties["expiration"])
        keys: tuple[str, ...] = (key,)
        delay = 0.0
        if properties.get("application_headers"):
            keys += _more_keys(properties)
            if self.connection.delays:
                delay = delay_of(properties, at.broker.clock.time())
        message = Message(exchange, keys, properties, body, delay)
        returned, taken = at.publish(message, mandatory)
        if returned:
            why = (312, "NO_ROUTE", exchange, key, self._made(message))
            if self._confirm_selected:
                self._answers.append((spec.Basic.Return, why))
            else:
                at.session.tell(at.number, "return", *why)
        if at.confirms:
            sig = spec.Basic.Ack if taken else spec.Basic.Nack
            tag = at.next_confirm()
            if self._confirm_selected:
                self._answers.append((sig, (tag, False)))
            else:
                at.session.tell(at.number, "confirm", sig, tag)

    def wait(
        self,
        method: Any,
        callback: Any = None,
        timeout: float | None = None,
        returns_tuple: bool = False,
    ) -> Any:
        """Return what has come already: nothing here is answered later."""
        wanted = method if isinstance(method, list) else [method]
        while self._answers:
            sig, args = self._answers.popleft()
            listener = self._callbacks.get(sig)
            if sig not in wanted:
                try:
                    listener(*args)
                except BaseException:
                    self._answers.clear()
                    raise
                continue
            if listener is not None:
                listener(*args)
            if callback is not None:
                callback(sig, *args)
            return args if returns_tuple else args[0]
        return super().wait(method, callback, timeout, returns_tuple)

    def _get(self, at: engine.Channel, queue: str, no_ack: bool) -> tuple[Any, ...]:
        got = at.get(queue, no_ack)
        if got is None:
            return ("",)
        tag, entry, left = got
        message = entry.message
        return (
            tag,
            entry.redelivered,
            message.exchange,
            message.keys[0],
            left,
            self._made(message),
        )

    def _made(self, message: Message) -> Any:
        made = amqp.Message(message.body, channel=self, **message.properties)
        properties = made.properties
        if "application_headers" in properties:
            properties["application_headers"] = copied(
                properties["application_headers"]
            )
        if self.auto_decode and "content_encoding" in properties:
            try:
                made.body = message.body.decode(properties["content_encoding"])
            except (LookupError, UnicodeError):
                return made  # as from py-amqp: in bytes
        return made

    def basic_ack(
        self, delivery_tag: Any, multiple: bool = False, argsig: str = "Lb"
    ) -> Any:
        """Acknowledge one message, or all up to it."""
        if type(delivery_tag) is not int:
            return super().basic_ack(delivery_tag, multiple, argsig)
        if self.connection is None:
            raise RecoverableConnectionError("connection already closed")
        self._perform(spec.Basic.Ack, engine.Channel.ack, delivery_tag, multiple)
        return _written()

    # -- what there is to read -----------------------------------------------

    def on_event(self, kind: str, args: tuple[Any, ...]) -> None:
        """Handle what the broker has left for this channel."""
        _EVENTS[kind](self, *args)

    def _on_deliver(
        self, consumer: Any, tag: int, entry: Entry, redelivered: bool
    ) -> None:
        message = entry.message
        self._on_basic_deliver(
            consumer.tag,
            tag,
            redelivered,
            message.exchange,
            message.keys[0],
            self._made(message),
        )

    def _on_confirm(self, sig: _Sig, tag: int) -> None:
        self._callbacks[sig](tag, False)


_EVENTS: dict[str, Any] = {
    "deliver": Channel._on_deliver,
    "cancel": Channel._on_basic_cancel,
    "return": Channel._on_basic_return,
    "confirm": Channel._on_confirm,
}


def _written() -> Any:
    """Return what py-amqp returns of what it has written."""
    written = promise()
    written()
    return written


def _check(expiration: str) -> None:
    try:
        wrong = period(int(expiration))
    except ValueError:
        wrong = "no_integer"
    if wrong:
        raise Refused(406, f"invalid expiration '{expiration}': {wrong}")


def _more_keys(properties: dict[str, Any]) -> tuple[str, ...]:
    headers = properties["application_headers"]
    keys: list[str] = []
    for name in _COPIES:
        if name in headers:
            given = headers[name]
            if not isinstance(given, list):
                raise Refused(406, f'invalid message: "{name}" must be a list of keys')
            keys += [one for one in given if isinstance(one, str)]
    if "BCC" in headers:
        properties["application_headers"] = {
            name: value for name, value in headers.items() if name != "BCC"
        }
    return tuple(keys)
