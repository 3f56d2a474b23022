# mypy: disable-error-code="untyped-decorator"
"""The bare responder understands Celery's messages and stores Celery's results."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import redis
from celery import Celery
from celery.utils import uuid
from kombu import pools

from .answers import Store, pack
from .must_hold import BOUNDS, SOAK
from .responder import task_id_of
from .rows import ROWS
from .scenario import PROOFS, SCENARIOS

__all__ = ()

_DATE = re.compile(rb'"date_done": "[^"]+"')


def test_the_id_of_a_message_is_found(redis_url: str, unique: str) -> None:
    app: Any = Celery("bench", set_as_current=False, broker=redis_url)
    app.conf.task_default_queue = unique
    sent = app.send_task("noop", ('"id": "no"',), root_id=uuid(), parent_id=uuid())
    app.close()
    pools.reset()
    with redis.Redis.from_url(redis_url) as client:
        message: Any = client.rpop(unique)
    assert json.loads(message)["headers"]["id"] == sent.id
    assert task_id_of(message) == sent.id.encode()


def test_what_is_stored_is_what_celery_stores(redis_url: str, unique: str) -> None:
    url = urlsplit(redis_url)
    app: Any = Celery("bench", set_as_current=False, backend=redis_url)
    ids = [uuid() for _ in range(3)]
    store = Store(url.port or 6379)
    store.send(pack("SELECT", url.path.strip("/") or "0"))
    store.read(1)
    with redis.Redis.from_url(redis_url) as client:
        keys = [app.backend.get_key_for_task(one) for one in ids]
        subscription = client.pubsub(ignore_subscribe_messages=True)
        subscription.subscribe(*keys)
        try:
            store.store(ids[:2])
            app.backend.store_result(ids[2], 1, "SUCCESS")
            found: list[Any] = [client.get(key) for key in keys]
            lives = [client.ttl(key) for key in keys]
            heard: list[Any] = []
            while len(heard) < len(keys):
                message = subscription.get_message(timeout=30)
                if message is not None:
                    heard.append(message["data"])
        finally:
            subscription.close()
            client.delete(*keys)
            store.close()
            app.close()
    plain = [
        _DATE.sub(b"", value.replace(one.encode(), b"ID"))
        for value, one in zip(found, ids, strict=True)
    ]
    assert plain[0] == plain[1] == plain[2]
    assert heard == found
    assert max(lives) - min(lives) < 60


def test_every_bound_names_what_there_is() -> None:
    for bound in (*BOUNDS, *SOAK):
        if bound.load in PROOFS:
            assert not bound.other
            continue
        load = SCENARIOS[bound.load]
        assert ROWS[bound.row].fits(load)
        assert not bound.other or ROWS[bound.other].fits(load)
        assert not bound.beside or ROWS[bound.other].fits(SCENARIOS[bound.beside])
