"""Payloads of messages, read as Kombu reads them."""

from __future__ import annotations

from functools import lru_cache
from json import JSONDecoder
from typing import Any

from kombu.utils.json import loads

__all__ = ("payload_of",)

_decoder = lru_cache(maxsize=8)(JSONDecoder)


def _read(text: str, object_hook: Any) -> Any:
    return _decoder(object_hook=object_hook).decode(text)


#: Kombu's default, `json.loads`, makes a decoder for each message.
_reader: Any = _read


def payload_of(raw: bytes) -> Any:
    """Return what `kombu.utils.json.loads` makes of a payload.

    Raises:
        ValueError: it cannot be read.
    """
    return loads(raw.decode(), _reader)
