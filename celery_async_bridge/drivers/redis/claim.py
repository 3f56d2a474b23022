"""What consuming does on the server, each in one step: nothing is ever in between.

Kombu's `BRPOP` has taken a message out of its list before anybody has noted it down; a
consumer that dies there loses it. These scripts leave just what Kombu's own steps would
leave together, so that its consumers restore what ours have claimed, and the other way
round.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, NamedTuple

from .pack import Packed, pack

__all__ = (
    "ACK",
    "ADOPT",
    "CLAIM",
    "GIVE_BACK",
    "REFRESH",
    "SWAP",
    "UNBURY",
    "UNDECODABLE",
    "Claimed",
    "Script",
    "claimed",
)

#: What the name of a list gets that holds messages which nobody can read.
UNDECODABLE = ".undecodable"


class Script:
    """A Lua script, called by its hash once the server knows it."""

    __slots__ = ("_sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._sha = sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[Any], args: Sequence[Any]) -> Packed:
        """Pack a call that a server may answer with NOSCRIPT."""
        return pack(("EVALSHA", self._sha, len(keys), *keys, *args))

    def tell(self, keys: Sequence[Any], args: Sequence[Any]) -> Packed:
        """Pack a call that makes the script known, too."""
        return pack(("EVAL", self.text, len(keys), *keys, *args))


class Claimed(NamedTuple):
    """A message that is ours.

    Attributes:
        place: which of the lists it came from.
        raw: the payload, as it was published.
        tag: its delivery tag; None if the server could not read it, and has put it
            into the list of the undecodable.
    """

    place: int
    raw: bytes
    tag: str | None


def claimed(reply: list[Any]) -> list[Claimed]:
    """Read the reply of `CLAIM`."""
    return [
        Claimed(reply[n] - 1, reply[n + 1], reply[n + 2].decode() or None)
        for n in range(0, len(reply), 3)
    ]


#: Take messages out of lists and note them as unacknowledged.
#:
#: Keys: the hash of unacknowledged messages, its index, then the lists: all queues of
#: the first priority step, all of the second, and so on.
#: Arguments: the score, how many, the number of queues, whether to note them ("1"),
#: whether a queue that was served goes to the end of the line ("1").
#: Reply: for each message the number of its list, the payload, the tag.
#:
#: The payload is spliced in as it is: decoded and encoded again, long numbers and some
#: strings would be others. Once something was popped no error may end the script: what
#: it has done stays done.
CLAIM = Script(
    """
local queues, book, turn = tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5] == '1'
local steps = (#KEYS - 2) / queues
local line, out = {}, {}
for i = 1, queues do line[i] = i end

local function take()
  for step = 0, steps - 1 do
    for at = 1, queues do
      local place = step * queues + line[at]
      local raw = redis.pcall('RPOP', KEYS[place + 2])
      if type(raw) == 'string' then
        if turn then table.insert(line, table.remove(line, at)) end
        return place, raw
      elseif raw and #out == 0 then
        return raw
      end
    end
  end
end

local function read(raw)
  local message = cjson.decode(raw)
  local info = message.properties.delivery_info
  local tag = message.properties.delivery_tag
  if type(tag) ~= 'string' or tag == '' or type(info) ~= 'table'
     or type(message) ~= 'table' then error('no message') end
  return tag, cjson.encode(info.exchange), cjson.encode(info.routing_key)
end

for _ = 1, tonumber(ARGV[2]) do
  local place, raw = take()
  if type(place) == 'table' then return place end
  if not place then break end
  local tag = ''
  if book then
    local ok, found, exchange, key = pcall(read, raw)
    if ok then
      tag = found
      redis.pcall('ZADD', KEYS[2], ARGV[1], tag)
      redis.pcall('HSET', KEYS[1], tag,
                  '[' .. raw .. ', ' .. exchange .. ', ' .. key .. ']')
    else
      redis.pcall('LPUSH', KEYS[place + 2] .. '"""
    + UNDECODABLE
    + """', raw)
    end
  end
  out[#out + 1] = place
  out[#out + 1] = raw
  out[#out + 1] = tag
end
return out
"""
)

#: Note a message of the undecodable list as unacknowledged: it could be read after all.
#:
#: Keys: hash, index, the undecodable list. Arguments: score, tag, the whole entry, the
#: payload. Reply: 1, or 0 if somebody has taken it away.
ADOPT = Script(
    """
if redis.call('LREM', KEYS[3], 1, ARGV[4]) == 0 then return 0 end
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
"""
)

#: Put a message that could be read after all back to where it came from.
#:
#: Keys: the undecodable list, the list that it came from. Arguments: the payload.
#: Reply: 1, or 0 if somebody has taken it away.
UNBURY = Script(
    """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
"""
)

#: Forget messages that are still ours: whose score is the one that we know.
#:
#: Keys: hash, index. Arguments: tag and score, again and again. Reply: how many.
ACK = Script(
    """
local done = 0
for n = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[2], ARGV[n])
  if score and tonumber(score) == tonumber(ARGV[n + 1]) then
    redis.call('ZREM', KEYS[2], ARGV[n])
    redis.call('HDEL', KEYS[1], ARGV[n])
    done = done + 1
  end
end
return done
"""
)

#: Put messages that nobody has seen back to where they came from, to be next there.
#:
#: Keys: hash, index, then the list of each message. Arguments: whether to do it only
#: for those that are still noted ("1"), then tag and payload of each message; those
#: that were not noted have an empty tag. Reply: how many.
GIVE_BACK = Script(
    """
local done = 0
for n = 1, #KEYS - 2 do
  local tag, raw = ARGV[2 * n], ARGV[2 * n + 1]
  local noted = 1
  if tag ~= '' then
    noted = redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  end
  if noted == 1 or ARGV[1] ~= '1' then
    redis.call('RPUSH', KEYS[n + 2], raw)
    done = done + 1
  end
end
return done
"""
)

#: Take back a message and push what stands for it, if it is still the one we looked at.
#:
#: Keys: hash, index, the lists. Arguments: tag, the entry as it was, then for each list
#: the command and the payload. Reply: 1, or 0 if the entry is another one now.
SWAP = Script(
    """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
for n = 3, #KEYS do
  redis.call(ARGV[2 * n - 3], KEYS[n], ARGV[2 * n - 2])
end
return 1
"""
)

#: Make messages young again that are still ours, so that nobody restores them.
#:
#: Keys: index. Arguments: the new score, then tag and score, again and again.
#: Reply: the tags that are not ours any more.
REFRESH = Script(
    """
local gone = {}
for n = 2, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[n])
  if score and tonumber(score) == tonumber(ARGV[n + 1]) then
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[n])
  else
    gone[#gone + 1] = ARGV[n]
  end
end
return gone
"""
)
