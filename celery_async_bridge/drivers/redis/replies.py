"""What reads the server's replies: hiredis, as redis-py sets it up."""

from __future__ import annotations

from typing import Any

import hiredis
from redis._parsers.base import BaseParser
from redis.exceptions import InvalidResponse

__all__ = ("NOTHING", "PUSH", "new_reader")

#: What a reader gives as long as no reply is complete.
NOTHING = object()
#: RESP3 servers may push between two replies; hiredis marks what they push. Its older
#: releases do not.
PUSH: Any = getattr(hiredis, "PushNotification", None)


def new_reader() -> Any:
    """Return a reader for one connection; it raises `InvalidResponse`."""
    return hiredis.Reader(
        protocolError=InvalidResponse,
        replyError=BaseParser.parse_error,
        notEnoughData=NOTHING,
    )
