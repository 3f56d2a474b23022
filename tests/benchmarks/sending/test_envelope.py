# mypy: disable-error-code="untyped-decorator"
"""The row "limit" writes what Celery writes, byte for byte but for the ids."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import pools

from .limit import envelope, lpush, template

__all__ = ()

_ID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _sent_by_celery(url: str, unique: str, text: str, ignore: bool) -> bytes:
    app: Any = Celery("bench", set_as_current=False, broker=url)
    app.conf.update(task_default_queue=unique, task_ignore_result=ignore)

    @app.task(name="noop", shared=False)
    def noop(i: int, y: str = "") -> None:
        pass

    try:
        noop.delay(7, y=text)
    finally:
        app.close()
        pools.reset()
    with redis.Redis.from_url(url) as client:
        found = client.lrange(unique, 0, -1)
    assert isinstance(found, list)
    (message,) = found
    return bytes(message)


@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize("text", ["v", "x" * 1024])
def test_limit_writes_the_bytes_of_celery(
    redis_url: str, unique: str, text: str, ignore: bool
) -> None:
    theirs = _sent_by_celery(redis_url, unique, text, ignore)
    known = json.loads(theirs)
    ours = envelope(
        7,
        text,
        queue=unique,
        origin=known["headers"]["origin"],
        reply_to=known["properties"]["reply_to"],
        ignore_result=ignore,
    )
    assert _ID.sub(b"ID", ours) == _ID.sub(b"ID", theirs)
    ids = [known["headers"]["id"], known["properties"]["delivery_tag"]]
    assert not any(known_id.encode() in ours for known_id in ids)


def test_command_is_a_command(redis_url: str, unique: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        connection = client.connection_pool.get_connection()
        connection.send_packed_command([lpush(unique.encode(), b"one\r\ntwo")])
        assert connection.read_response() == 1
        client.connection_pool.release(connection)
        assert client.lrange(unique, 0, -1) == [b"one\r\ntwo"]


@pytest.mark.parametrize("text", ["v", "100 %s 0", "x" * 1024])
def test_template_renders_the_same(text: str) -> None:
    fixed: dict[str, Any] = {"queue": "0", "origin": "gen0@%d", "reply_to": "r"}
    render = template(text, **fixed)
    made = [render(number) for number in (0, 12345)]
    for number, message in zip((0, 12345), made, strict=True):
        theirs = envelope(number, text, **fixed)
        assert _ID.sub(b"ID", message) == _ID.sub(b"ID", theirs)
    ids = [json.loads(message)["headers"]["id"] for message in made]
    assert ids[0] != ids[1]
