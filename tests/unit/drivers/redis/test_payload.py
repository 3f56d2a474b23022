"""Payloads are what Kombu makes of them."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from json import JSONDecodeError

import pytest
from kombu.utils.json import dumps, loads

from celery_async_bridge.drivers.redis.payload import payload_of


def test_the_same_values() -> None:
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
    value = {"headers": {"a": when, "b": uuid.UUID(int=7), "c": [Decimal("1.5")]}}
    text = dumps(value)
    assert payload_of(text.encode()) == loads(text) == value


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", JSONDecodeError),
        (b"{", JSONDecodeError),
        (b'\xef\xbb\xbf{"a": 1}', JSONDecodeError),
        (b'{"a": 1} x', JSONDecodeError),
        (b"\xff", UnicodeDecodeError),
    ],
)
def test_the_same_errors(raw: bytes, error: type[Exception]) -> None:
    for read in (loads, payload_of):
        with pytest.raises(error):
            read(raw)
