"""The message of a send with holes in it, cut out of one that upstream has written."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from json.encoder import c_make_encoder  # type: ignore[attr-defined]
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from kombu.utils.json import JSONEncoder, loads

__all__ = ("Blanks", "Template", "cut", "encode")

#: What `kombu.utils.json.dumps` does, without a new encoder for every call.
encode = JSONEncoder().encode


def _quick() -> Callable[[Any], str]:
    """Return `encode` without its Python part, where the interpreter has a C part."""
    if c_make_encoder is None:
        return encode
    default = JSONEncoder().default

    def quick(value: Any) -> str:
        # The dict finds values that contain themselves. Without it those end at the
        # recursion limit, where the collector may run, and no finalizer can.
        make = c_make_encoder({}, default, quote, None, ": ", ", ", False, False, True)
        return "".join(make(value, 0))

    return quick


_encode_pair = _quick()

_ENVELOPE = ("body", "content-encoding", "content-type", "headers", "properties")
#: Headers that differ between two sends of one shape, in the order of the blanks.
_HEADERS = ("id", "root_id", "parent_id", "argsrepr", "kwargsrepr")
_TIMES = ("eta", "expires")


@dataclass(slots=True)
class Blanks:
    """What one message has in the holes of its template."""

    task_id: str
    root_id: str
    parent_id: str | None
    args_text: str
    kwargs_text: str
    reply_to: str
    tag: str
    eta: str | None = None
    expires: str | None = None

    def basic(self) -> tuple[str, str, str | None, str, str, str, str]:
        """Return what every message has, in the order of `Template.line`."""
        return (
            self.task_id,
            self.root_id,
            self.parent_id,
            self.args_text,
            self.kwargs_text,
            self.reply_to,
            self.tag,
        )


@dataclass(slots=True)
class Template:
    """A message with holes.

    Attributes:
        key: the list that it is pushed to.
        headers: all headers that upstream makes, in its order.
        properties: the properties that upstream shows to the receivers of signals.
        wire: the properties of the envelope, in its order.
        outer: the envelope, in its order.
        parts: the text of the envelope between the blanks of `line`.
        embed: the text of what Celery adds to the arguments in the body.
        head: the Redis command up to the length of the envelope.
        mutable: headers that a receiver could change in place.
    """

    key: bytes
    headers: dict[str, Any]
    properties: dict[str, Any]
    wire: dict[str, Any]
    outer: dict[str, Any]
    parts: tuple[str, ...] = field(default=(), compare=False)
    embed: str = ""
    head: bytes = b""
    mutable: tuple[str, ...] = ()

    def fill_headers(self, blanks: Blanks) -> dict[str, Any]:
        """Return the headers of one message, as upstream makes them."""
        headers = self.headers.copy()
        for name in self.mutable:
            headers[name] = headers[name].copy()
        headers["id"] = blanks.task_id
        headers["eta"] = blanks.eta
        headers["expires"] = blanks.expires
        headers["root_id"] = blanks.root_id
        headers["parent_id"] = blanks.parent_id
        headers["argsrepr"] = blanks.args_text
        headers["kwargsrepr"] = blanks.kwargs_text
        return headers

    def fill_properties(self, blanks: Blanks) -> dict[str, Any]:
        """Return the properties of one message, as upstream makes them."""
        properties = self.properties.copy()
        properties["correlation_id"] = blanks.task_id
        properties["reply_to"] = blanks.reply_to
        return properties

    def envelope(self, headers: Mapping[str, Any], body: Any, blanks: Blanks) -> str:
        """Return the text of a message whose headers and body are real objects."""
        outer = self.outer.copy()
        outer["body"] = _packed(body)
        outer["headers"] = headers
        outer["properties"] = wire = self.wire.copy()
        wire["correlation_id"] = blanks.task_id
        wire["reply_to"] = blanks.reply_to
        wire["delivery_tag"] = blanks.tag
        return encode(outer)

    def line(
        self,
        args: Any,
        kwargs: Any,
        task_id: str,
        root_id: str,
        parent_id: str | None,
        args_text: str,
        kwargs_text: str,
        reply_to: str,
        tag: str,
    ) -> str:
        """Return the text of a message that nobody looks at on its way."""
        body = f"{_encode_pair((args, kwargs))[:-1]}, {self.embed}]"
        task = quote(task_id)
        a, b, c, d, e, f, g, h, i, j = self.parts
        return "".join(
            (
                a,
                b2a_base64(body.encode("ascii"), newline=False).decode("ascii"),
                b,
                task,
                c,
                task if root_id is task_id else quote(root_id),
                d,
                "null" if parent_id is None else quote(parent_id),
                e,
                quote(args_text),
                f,
                quote(kwargs_text),
                g,
                task,
                h,
                quote(reply_to),
                i,
                tag,
                j,
            )
        )

    def command(self, text: str) -> bytes:
        """Return the Redis command that pushes an envelope."""
        # It is pure ASCII: characters are bytes.
        return b"%b%d\r\n%b\r\n" % (self.head, len(text), text.encode("ascii"))


def _packed(body: Any) -> str:
    return b2a_base64(encode(body).encode("utf-8"), newline=False).decode("ascii")


def cut(
    key: str | bytes,
    payload: str | bytes,
    made: Mapping[str, Any],
    properties: Mapping[str, Any],
    body: Any,
) -> Template | str:
    """Return the template of a message, or a sentence that says why there is none.

    Arguments:
        key: the list that it was pushed to.
        payload: the envelope.
        made: the headers that upstream makes; others were added by the caller or by
            receivers of signals, who will be asked again.
        properties: the properties that upstream had made before it published.
        body: the body that upstream had made.
    """
    text = payload.decode("utf-8") if isinstance(payload, bytes) else payload
    outer = loads(text, object_hook=None)
    if encode(outer) != text:
        return "the envelope is not the JSON that Kombu writes"
    if tuple(outer) != _ENVELOPE:
        return "the envelope has other parts than usual"
    headers, wire = outer["headers"], outer["properties"]
    outer["headers"] = headers = {k: v for k, v in headers.items() if k in made}
    if outer["content-type"] != "application/json" or "compression" in headers:
        return "the body is not plain JSON"
    if wire.get("body_encoding") != "base64" or not headers.keys() >= {
        *_HEADERS,
        *_TIMES,
    }:
        return "it is not a message of protocol 2"
    raw = key.encode("utf-8") if isinstance(key, str) else key
    blank = {**headers, **dict.fromkeys((*_HEADERS, *_TIMES))}
    return Template(
        key=raw,
        headers=blank,
        properties={**properties, "correlation_id": "", "reply_to": ""},
        wire={**wire, "correlation_id": "", "reply_to": "", "delivery_tag": ""},
        outer={**outer, "body": "", "headers": None, "properties": None},
        parts=_parts({**outer, "headers": blank}),
        embed=encode(dict(body[2], callbacks=None, errbacks=None)),
        head=b"*3\r\n$5\r\nLPUSH\r\n$%d\r\n%b\r\n$" % (len(raw), raw),
        mutable=tuple(k for k, v in headers.items() if isinstance(v, (list, dict))),
    )


def _parts(outer: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the text of the envelope between the nine blanks."""
    marks = [f"\x00{place}" for place in range(9)]
    body, task_id, root, parent, args, kwargs, correlation, reply, tag = marks
    filled = {
        **outer,
        "body": body,
        "headers": {
            **outer["headers"],
            "id": task_id,
            "root_id": root,
            "parent_id": parent,
            "argsrepr": args,
            "kwargsrepr": kwargs,
        },
        "properties": {
            **outer["properties"],
            "correlation_id": correlation,
            "reply_to": reply,
            "delivery_tag": tag,
        },
    }
    text = encode(filled)
    for mark in marks:
        # What has no need of escapes is quoted here, once.
        hole = '"\0"' if mark in (body, tag) else "\0"
        text = text.replace(quote(mark), hole)
    return tuple(text.split("\0"))
