"""The least that taking messages from Redis can cost in Python.

A bare loop: one script call takes many messages and notes them, envelope and body are
decoded, and the same script call acknowledges what the last one took.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode
from typing import Any

import hiredis

__all__ = ("drain",)

_CLAIM = """
if #ARGV > 2 then
  redis.call('ZREM', KEYS[2], unpack(ARGV, 3))
  redis.call('HDEL', KEYS[1], unpack(ARGV, 3))
end
local out = {}
for _ = 1, tonumber(ARGV[2]) do
  local raw = redis.call('RPOP', KEYS[3])
  if not raw then break end
  local message = cjson.decode(raw)
  local tag = message.properties.delivery_tag
  local info = message.properties.delivery_info
  redis.call('ZADD', KEYS[2], ARGV[1], tag)
  redis.call('HSET', KEYS[1], tag, '[' .. raw .. ', "' .. info.exchange .. '", "'
             .. info.routing_key .. '"]')
  out[#out + 1] = raw
end
return out
"""
_AT_ONCE = 64


class _Link(asyncio.Protocol):
    def __init__(self) -> None:
        self._reader: Any = hiredis.Reader()
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        reply = self._reader.gets()
        if reply is not False:
            self.reply.set_result(reply)


async def drain(port: int, queue: str, count: int) -> None:
    """Take so many messages."""
    loop = asyncio.get_running_loop()
    transport, link = await loop.create_connection(_Link, "127.0.0.1", port)
    tags: list[str] = []
    found = 0
    while found < count or tags:
        head = ("EVAL", _CLAIM, "3", "unacked", "unacked_index", queue)
        command: Any = (*head, repr(time.time()), str(_AT_ONCE), *tags)
        transport.write(hiredis.pack_command(command))
        raws = await link.reply
        if isinstance(raws, Exception):
            raise raws
        link.reply = loop.create_future()
        tags.clear()
        for raw in raws:
            payload = json.loads(raw)
            json.loads(b64decode(payload["body"]))
            tags.append(payload["properties"]["delivery_tag"])
            found += 1
    transport.close()
