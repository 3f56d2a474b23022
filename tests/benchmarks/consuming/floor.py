"""The least that taking messages from Redis can cost in Python.

A bare loop: one script call takes many messages and notes them, envelope and body are
decoded, and the same script call acknowledges what the last one took. Or each message
is acknowledged by itself, in Kombu's transaction, and the answer awaited: the least
that `await message.aack()` can cost.
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
        self._loop = asyncio.get_running_loop()
        self._left = 0
        self._transport: Any = None
        self.reply: asyncio.Future[Any] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, data: bytes, replies: int = 1) -> asyncio.Future[Any]:
        """Send commands; the future gets the last reply."""
        self._left, self.reply = replies, self._loop.create_future()
        self._transport.write(data)
        return self.reply

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while self._left and (reply := self._reader.gets()) is not False:
            self._left -= 1
            if not self._left:
                self.reply.set_result(reply)


def _settling(tag: str) -> bytes:
    commands: tuple[Any, ...] = (
        ("MULTI",),
        ("ZREM", "unacked_index", tag),
        ("HDEL", "unacked", tag),
        ("EXEC",),
    )
    return b"".join(map(hiredis.pack_command, commands))


async def drain(port: int, queue: str, count: int, *, singly: bool = False) -> None:
    """Take so many messages; `singly`: acknowledge each one by itself."""
    loop = asyncio.get_running_loop()
    transport, link = await loop.create_connection(_Link, "127.0.0.1", port)
    tags: list[str] = []
    found = 0
    while found < count or tags:
        head = ("EVAL", _CLAIM, "3", "unacked", "unacked_index", queue)
        command: Any = (*head, repr(time.time()), str(_AT_ONCE), *tags)
        raws = await link.ask(hiredis.pack_command(command))
        if isinstance(raws, Exception):
            raise raws
        tags.clear()
        for raw in raws:
            payload = json.loads(raw)
            json.loads(b64decode(payload["body"]))
            tag = payload["properties"]["delivery_tag"]
            found += 1
            if singly:
                await link.ask(_settling(tag), 4)
            else:
                tags.append(tag)
    transport.close()
