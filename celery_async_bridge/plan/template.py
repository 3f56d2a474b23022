"""The message of a send with holes in it, cut out of one that upstream has written."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from json.encoder import c_make_encoder  # type: ignore[attr-defined]
from json.encoder import encode_basestring_ascii as quote
from operator import is_
from typing import Any

from kombu.utils.json import JSONEncoder, loads

__all__ = ("Blanks", "Template", "cut", "encode", "same")

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


_quick_encode = _quick()

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
        extra: what Celery adds to the arguments in the body.
        mutable: headers that a receiver could change in place.
        flat: what is in these is plain, so that looking at it one level deep is enough.
    """

    key: bytes
    headers: dict[str, Any]
    properties: dict[str, Any]
    wire: dict[str, Any]
    outer: dict[str, Any]
    parts: tuple[str, ...] = field(default=(), compare=False)
    embed: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    head: bytes = b""
    mutable: tuple[str, ...] = ()
    flat: bool = True

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
        return _quick_encode(outer)

    def more(self, made: Mapping[str, Any], headers: Mapping[str, Any]) -> str | None:
        """Return the text of the headers behind those that upstream makes.

        Arguments:
            made: a copy of what `fill_headers` has given.
            headers: the same dictionary, after others could change it.

        Returns:
            None if they did not only add to it: `line` cannot express that.
        """
        count = len(made)
        if not (
            self.flat
            and [*headers][:count] == [*made]
            and all(map(is_, headers.values(), made.values()))
            and made["eta"] is made["expires"] is None
        ):
            return None
        for name in self.mutable:
            if not same(headers[name], self.headers[name]):
                return None
        added = [*headers.items()][count:]
        parts = []
        for name, value in added:
            if type(name) is not str or type(value) is not str:
                return f", {_quick_encode(dict(added))[1:-1]}"
            parts.append(f", {quote(name)}: {quote(value)}")
        return "".join(parts)

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
        more: str = "",
    ) -> str:
        """Return the text of a message of which only the blanks are its own.

        Arguments:
            args: its positional arguments.
            kwargs: its keyword arguments.
            task_id: its id.
            root_id: the id of the first of its ancestors.
            parent_id: the id of the task that sends it.
            args_text: the text of its positional arguments.
            kwargs_text: the text of its keyword arguments.
            reply_to: the queue of replies.
            tag: the delivery tag.
            more: the text of further headers, as `more()` returns it.
        """
        body = f"{_quick_encode((args, kwargs))[:-1]}, {self.embed}]"
        task = quote(task_id)
        a, b, c, d, e, f, g, h, i, j, k = self.parts
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
                more,
                h,
                task,
                i,
                quote(reply_to),
                j,
                tag,
                k,
            )
        )

    def command(self, text: str) -> bytes:
        """Return the Redis command that pushes an envelope."""
        # It is pure ASCII: characters are bytes.
        return b"%b%d\r\n%b\r\n" % (self.head, len(text), text.encode("ascii"))


def _packed(body: Any) -> str:
    return b2a_base64(_quick_encode(body).encode("ascii"), newline=False).decode(
        "ascii"
    )


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
    extra = dict(body[2], callbacks=None, errbacks=None)
    mutable = {k: v for k, v in headers.items() if isinstance(v, (list, dict))}
    return Template(
        key=raw,
        headers=blank,
        properties={**properties, "correlation_id": "", "reply_to": ""},
        wire={**wire, "correlation_id": "", "reply_to": "", "delivery_tag": ""},
        outer={**outer, "body": "", "headers": None, "properties": None},
        parts=_parts({**outer, "headers": blank}),
        embed=encode(extra),
        extra=extra,
        head=b"*3\r\n$5\r\nLPUSH\r\n$%d\r\n%b\r\n$" % (len(raw), raw),
        mutable=tuple(mutable),
        flat=all(map(_is_flat, (*mutable.values(), extra))),
    )


def _is_flat(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return not any(isinstance(item, (list, dict)) for item in items)


def same(found: Any, kept: Any) -> bool:
    """Whether a list or dictionary has the very items of its copy, in their order.

    Not merely equal ones: 1, 1.0 and True are different as JSON.
    """
    if found != kept:
        return False
    if not kept:
        return True
    if type(kept) is dict:
        return [*found] == [*kept] and all(map(is_, found.values(), kept.values()))
    return all(map(is_, found, kept))


def _parts(outer: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the text of the envelope between the ten blanks."""
    marks = [f"\x00{place}" for place in range(10)]
    body, task_id, root, parent, args, kwargs, more, correlation, reply, tag = marks
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
            more: 0,
        },
        "properties": {
            **outer["properties"],
            "correlation_id": correlation,
            "reply_to": reply,
            "delivery_tag": tag,
        },
    }
    # A blank for further headers, behind all others.
    text = encode(filled).replace(f", {quote(more)}: 0", "\0")
    for mark in marks:
        # What has no need of escapes is quoted here, once.
        hole = '"\0"' if mark in (body, tag) else "\0"
        text = text.replace(quote(mark), hole)
    return tuple(text.split("\0"))
