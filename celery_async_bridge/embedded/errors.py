"""What the broker answers when it refuses."""

from __future__ import annotations

__all__ = ("Refused", "bad_argument", "denied", "inequivalent", "locked", "missing")

#: The names that RabbitMQ puts before its texts; the ones that end the connection
#: and not only the channel.
_NAMES = {
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
}
_HARD = frozenset({503, 504, 530, 540})


class Refused(Exception):
    """The broker closes the channel, or the connection, with a code and a text.

    Attributes:
        code: AMQP's reply code.
        text: RabbitMQ's text.
        hard: whether the connection is closed, too.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = f"{_NAMES[code]} - {text}"
        self.hard = code in _HARD
        super().__init__(self.text)


def missing(kind: str, name: str) -> Refused:
    """Return the refusal of a name that nothing has: 404."""
    return Refused(404, f"no {kind} '{name}' in vhost '/'")


def locked(name: str) -> Refused:
    """Return the refusal of a queue that another connection owns: 405."""
    return Refused(
        405,
        f"cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It "
        "could be originally declared on another connection or the exclusive property "
        "value does not match that of the original declaration.",
    )


def denied(text: str) -> Refused:
    """Return the refusal of what nobody may do: 403."""
    return Refused(403, text)


def inequivalent(
    kind: str, name: str, argument: str, received: str, current: str
) -> Refused:
    """Return the refusal of another declaration of the same name: 406."""
    return Refused(
        406,
        f"inequivalent arg '{argument}' for {kind} '{name}' in vhost '/': "
        f"received {received} but current is {current}",
    )


def bad_argument(kind: str, name: str, argument: str, why: str) -> Refused:
    """Return the refusal of an argument that makes no sense: 406."""
    return Refused(
        406, f"invalid arg '{argument}' for {kind} '{name}' in vhost '/': {why}"
    )
