"""Look at what the servers hold, underneath the code under test.

One function per kind of server; each returns a plain tree of everything that carries
the name of the run. Ids inside encoded bodies are made visible, so that they can be
masked; nothing else is decoded.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .outcome import blank, describe

__all__ = ("BACKEND_LOOKS", "LOOKS", "TIDIES", "Server", "look_at", "tidy")


@dataclass(frozen=True)
class Server:
    """A broker or a result backend under test.

    Attributes:
        url: as a user writes it; `{run}` stands for the name of the run.
        options: transport options for a run; gets the run's name. Give every name on
            the server that prefix where the transport allows it.
        settle: seconds between two steps that the server needs to order them.
    """

    url: str
    options: Callable[[str], dict[str, Any]] = field(default=lambda run: {})
    settle: float = 0.0

    def at(self, run: str) -> str:
        """The URL of a run."""
        return self.url.replace("{run}", run)

    @property
    def scheme(self) -> str:
        """The scheme of the URL."""
        return urlsplit(self.url).scheme


Look = Callable[[Server, str, Iterable[str]], Any]
_BODY = re.compile(rb'("body": ")([A-Za-z0-9+/=]*)(")')


def _open(payload: bytes) -> str:
    """Undo the base64 of a virtual transport's message body."""

    def plain(found: re.Match[bytes]) -> bytes:
        return found[1] + base64.b64decode(found[2]) + found[3]

    return describe(_BODY.sub(plain, payload))  # type: ignore[no-any-return]


def _unordered(value: Any) -> Any:
    if isinstance(value, dict) and "items" in value:
        return {**value, "items": sorted(value["items"], key=repr)}
    return value


def _state(state: Any, run: str) -> Any:
    return {
        "exchanges": {
            # Bindings are kept as a set on their way into the table.
            name: {key: _unordered(describe(item)) for key, item in settings.items()}
            for name, settings in sorted(state.exchanges.items())
            if run in name
        },
        "bindings": sorted(
            [*key, describe(arguments)]
            for key, arguments in state.bindings.items()
            if run in key.queue or run in key.exchange
        ),
    }


def _memory(server: Server, run: str, names: Iterable[str]) -> Any:
    from kombu.transport.memory import Channel, Transport

    queues = {
        name: [_open(json.dumps(message).encode()) for message in queue.queue]
        for name, queue in sorted(Channel.queues.items())
        if run in name
    }
    return {"queues": queues, **_state(Transport.global_state, run)}


def _client(url: str) -> Any:
    import redis

    return redis.Redis.from_url(url)


def _hash(client: Any, key: bytes) -> Any:
    return sorted(_open(b"%s=%s" % item) for item in client.hgetall(key).items())


_REDIS_TYPES: Mapping[bytes, Callable[[Any, bytes], Any]] = {
    b"list": lambda client, key: [_open(item) for item in client.lrange(key, 0, -1)],
    b"set": lambda client, key: sorted(describe(v) for v in client.smembers(key)),
    b"zset": lambda client, key: [
        describe(member) for member in client.zrange(key, 0, -1)
    ],
    b"hash": _hash,
    b"string": lambda client, key: _open(client.get(key)),
}


def _redis(server: Server, run: str, names: Iterable[str]) -> Any:
    with _client(server.at(run)) as client:
        return {
            describe(key): {
                "value": _REDIS_TYPES[client.type(key)](client, key),
                # A lifetime is compared, up to the second that may pass meanwhile.
                "lives": round(client.ttl(key), -1),
            }
            for key in sorted(client.scan_iter(match=f"*{run}*", count=1000))
        }


def _files(server: Server, run: str, names: Iterable[str]) -> Any:
    found: dict[str, list[Any]] = {}
    options = server.options(run)
    for key in ("data_folder_in", "control_folder"):
        folder = Path(options.get(key, ""))
        for path in sorted(folder.glob(f"*{run}*")) if options.get(key) else ():
            # The stamp and id in front of a message's file name are the server's.
            name = re.sub(r"^\d+_[0-9a-f-]{36}\.", "", path.name)
            content = path.read_bytes()
            if key == "control_folder":
                # The bindings of a queue are a set on their way into this table.
                content = json.dumps(sorted(json.loads(content))).encode()
            found.setdefault(name, []).append(_open(content))
    # Two messages of one millisecond have no order.
    return {name: sorted(items, key=blank) for name, items in sorted(found.items())}


def _amqp(server: Server, run: str, names: Iterable[str]) -> Any:
    from kombu import Connection

    found: dict[str, Any] = {}
    with Connection(server.at(run), connect_timeout=5) as connection:
        names = dict.fromkeys(names)
        for name in names:
            found[name] = {
                "exchange": _exists(connection, "exchange_declare", exchange=name),
                "messages": _messages(connection, name),
            }
        # What a closed channel gives back can be a moment late on a server.
        if server.scheme != "embedded":
            time.sleep(0.02)
        for name in names:
            if found[name]["messages"] is not None:
                found[name]["messages"] += _messages(connection, name) or []
    return found


def _exists(connection: Any, method: str, **kwargs: Any) -> bool:
    channel = connection.channel()
    try:
        if method == "exchange_declare":
            kwargs["type"] = "direct"
        getattr(channel, method)(passive=True, **kwargs)
    except connection.channel_errors:
        return False
    finally:
        channel.close()
    return True


def _messages(connection: Any, queue: str) -> Any:
    """Take all messages; None if there is no such queue."""
    channel = connection.channel()
    taken = []
    try:
        channel.queue_declare(queue, passive=True)
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            info = dict(message.delivery_info)
            info.pop("delivery_tag", None)
            taken.append(
                {
                    "body": describe(message.body),
                    "properties": describe(message.properties),
                    "delivery": describe(info),
                }
            )
    except connection.channel_errors:
        return None
    finally:
        channel.close()
    return taken


def _sqlite(server: Server, run: str, names: Iterable[str]) -> Any:
    import sqlite3

    path = server.at(run).partition(":///")[2]
    if not Path(path).exists():
        return None
    connection = sqlite3.connect(path)
    try:
        tables = connection.execute(
            "select name from sqlite_master where type = 'table' order by name"
        ).fetchall()
        return {
            table: [
                describe(row) for row in connection.execute(f"select * from {table}")
            ]
            for (table,) in tables
        }
    finally:
        connection.close()


def _backend_files(server: Server, run: str, names: Iterable[str]) -> Any:
    folder = Path(server.at(run).partition("://")[2])
    return {
        path.name: describe(path.read_bytes())
        for path in sorted(folder.glob(f"*{run}*"))
    }


def _shared_cache() -> Any:
    from celery.backends import cache

    return vars(cache)["_DUMMY_CLIENT_CACHE"]


def _memory_cache(server: Server, run: str, names: Iterable[str]) -> Any:
    return {
        describe(key): describe(value)
        for key, value in sorted(_shared_cache().items(), key=repr)
        if run in describe(key)
    }


#: Scheme of a broker's URL -> how to look at it.
LOOKS: dict[str, Look] = {
    "memory": _memory,
    "redis": _redis,
    "filesystem": _files,
    "amqp": _amqp,
    "pyamqp": _amqp,
    "embedded": _amqp,
}

#: Scheme of a backend's URL -> how to look at it.
BACKEND_LOOKS: dict[str, Look] = {
    "redis": _redis,
    "cache+memory": _memory_cache,
    "db+sqlite": _sqlite,
    "file": _backend_files,
}


def look_at(
    looks: Mapping[str, Look], server: Server, run: str, names: Iterable[str]
) -> Any:
    """Return what a server holds of a run; None if nobody knows how to look."""
    look = looks.get(server.scheme)
    return None if look is None else look(server, run, names)


Tidy = Callable[[Server, str, Iterable[str]], None]


def _tidy_memory(server: Server, run: str, names: Iterable[str]) -> None:
    from kombu.transport.memory import Channel, Transport

    for name in [name for name in Channel.queues if run in name]:
        Channel.queues.pop(name, None)
    state: Any = Transport.global_state
    for name in [name for name in state.exchanges if run in name]:
        state.exchanges.pop(name, None)
    for name in [name for name in state.queue_index if run in name]:
        state.queue_bindings_delete(name)


def _tidy_redis(server: Server, run: str, names: Iterable[str]) -> None:
    with _client(server.at(run)) as client:
        for key in client.scan_iter(match=f"*{run}*", count=1000):
            client.delete(key)


def _tidy_amqp(server: Server, run: str, names: Iterable[str]) -> None:
    from kombu import Connection

    with Connection(server.at(run), connect_timeout=5) as connection:
        channel: Any = connection.channel()
        for name in dict.fromkeys(names):
            channel.queue_delete(name)
            channel.exchange_delete(name)


def _tidy_memory_cache(server: Server, run: str, names: Iterable[str]) -> None:
    cache = _shared_cache()
    for key in [key for key in cache if run in describe(key)]:
        cache.pop(key, None)


#: Scheme -> how to remove what a run has left; temporary folders need nothing.
TIDIES: dict[str, Tidy] = {
    "memory": _tidy_memory,
    "redis": _tidy_redis,
    "amqp": _tidy_amqp,
    "pyamqp": _tidy_amqp,
    "embedded": _tidy_amqp,
    "cache+memory": _tidy_memory_cache,
}


def tidy(server: Server, run: str, names: Iterable[str]) -> None:
    """Remove what a run has left on a server."""
    clean = TIDIES.get(server.scheme)
    if clean is not None:
        clean(server, run, names)
