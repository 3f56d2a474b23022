"""Payloads of messages, read as Kombu reads them."""

from __future__ import annotations

from functools import lru_cache
from json import JSONDecoder
from typing import Any

from kombu.utils.json import loads

__all__ = ("payload_of",)

_decoder = lru_cache(maxsize=8)(JSONDecoder)
_scan: Any = vars(JSONDecoder())["scan_once"]


def _read(text: str, object_hook: Any) -> Any:
    return _decoder(object_hook=object_hook).decode(text)


#: Kombu's default, `json.loads`, makes a decoder for each message.
_reader: Any = _read


def payload_of(raw: bytes) -> Any:
    """Return what `kombu.utils.json.loads` makes of a payload.

    Raises:
        ValueError: it cannot be read.
    """
    text = raw.decode()
    # Kombu looks at each object for its name of a type, which few payloads have; its
    # letters might be written as escapes.
    if "__type__" not in text and "\\u00" not in text:
        try:
            payload, end = _scan(text, 0)
        except StopIteration:
            end = -1
        if end == len(text):
            return payload
    return loads(text, _reader)
