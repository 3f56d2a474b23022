"""Every way in which a URL may lead to Redis: TLS, ACL, sockets, databases, lists."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from kombu.exceptions import OperationalError

from tests.integration.redis_faults.burst import Burst, messages
from tests.redis_servers import (
    Certificates,
    RedisServer,
    free_port,
    redis_server,
    tls_server,
)
from tests.sweep import ignore_unclosed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [ignore_unclosed, pytest.mark.redis]

MakeApp = Callable[..., Any]
PASSWORD = "s3cr3t/@:pa55"
#: What a user must be allowed who does nothing but send.
SENDING = "+@connection +llen +lpush +exists +smembers +sadd +multi +exec +info"
POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with tls_server(tmp_path_factory.mktemp("tls")) as found:
        yield found


@pytest.fixture(scope="module")
def locked_server() -> Iterator[RedisServer]:
    """A server with a password, and a user who may do what Kombu needs."""
    with redis_server(
        options={"requirepass": PASSWORD}, client={"password": PASSWORD}
    ) as server:
        with server.admin() as admin:
            admin.acl_setuser(
                "sender",
                enabled=True,
                passwords=[f"+{PASSWORD}"],
                keys=["*"],
                channels=["*"],
                commands=SENDING.split(),
            )
            admin.acl_setuser(
                "reader",
                enabled=True,
                passwords=[f"+{PASSWORD}"],
                keys=["*"],
                commands=["+@connection", "+@read", "+multi", "+exec", "+info"],
            )
        yield server


def _sends(app: Any, server: RedisServer, count: int = 20, db: int = 0) -> None:
    """Send, and see that it arrived in that database."""
    with server.admin(db=db) as admin:
        admin.flushdb()
    burst = Burst(app, {"publish_timeout": 10})
    asyncio.run(burst.run(count))
    assert not burst.errors, burst.errors[0]
    assert len(messages(server, db=db)) == count


def _outcome(send: Callable[[], Any]) -> tuple[type, float]:
    """What a send raises, and how long that takes."""
    began = time.monotonic()
    with pytest.raises(Exception, match=r".") as caught:
        send()
    assert PASSWORD not in repr(caught.value)
    return caught.type, time.monotonic() - began


def _same_failure(app: Any, most: float) -> type:
    """See that both twins fail alike, and the awaitable one within `most` seconds."""
    expected, took = _outcome(lambda: app.add.delay(1, 2))
    found, awaited = _outcome(lambda: asyncio.run(app.add.adelay(1, 2)))
    print(f"{found.__name__}: sync {took:.2f} s, async {awaited:.2f} s")
    assert found is expected
    assert awaited < most
    return found


def _rediss(server: RedisServer, **query: Any) -> str:
    words = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    return f"rediss://127.0.0.1:{server.port}/0" + (f"?{words}" if words else "")


def test_tls_verified(tls: tuple[RedisServer, Certificates], make_app: MakeApp) -> None:
    server, files = tls
    url = _rediss(server, ssl_cert_reqs="required", ssl_ca_certs=files.authority)
    _sends(make_app(url, url), server)


def test_tls_by_setting(
    tls: tuple[RedisServer, Certificates], make_app: MakeApp
) -> None:
    server, files = tls
    options = {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_ca_certs": str(files.authority),
    }
    _sends(make_app(_rediss(server), broker_use_ssl=options), server)


@pytest.mark.parametrize(
    "query", [{}, {"ssl_cert_reqs": "none"}], ids=["default", "none"]
)
def test_tls_unverified(
    tls: tuple[RedisServer, Certificates], make_app: MakeApp, query: dict[str, str]
) -> None:
    """Kombu verifies nothing unless told to, and warns."""
    server, _ = tls
    _sends(make_app(_rediss(server, **query)), server)


@pytest.mark.parametrize("file", ["certificate", "nowhere"])
def test_tls_with_the_wrong_authority(
    tls: tuple[RedisServer, Certificates],
    make_app: MakeApp,
    tmp_path: Path,
    file: str,
) -> None:
    server, files = tls
    authority = files.certificate if file == "certificate" else tmp_path / "none"
    url = _rediss(server, ssl_cert_reqs="required", ssl_ca_certs=authority)
    _same_failure(make_app(url, task_publish_retry_policy=POLICY), 10)


def test_plain_text_to_a_tls_port(
    tls: tuple[RedisServer, Certificates], make_app: MakeApp
) -> None:
    app = make_app(tls[0].url, task_publish_retry_policy=POLICY)
    _same_failure(app, 10)


def _as(user: str, password: str, server: RedisServer) -> str:
    login = f"{user}:{quote(password, safe='')}"
    return f"redis://{login}@127.0.0.1:{server.port}/0"


@pytest.mark.parametrize("user", ["", "default", "sender"])
def test_login(locked_server: RedisServer, make_app: MakeApp, user: str) -> None:
    _sends(make_app(_as(user, PASSWORD, locked_server)), locked_server)


@pytest.mark.parametrize("user", ["", "sender", "nobody"])
def test_wrong_password(
    locked_server: RedisServer, make_app: MakeApp, user: str
) -> None:
    url = _as(user, "wrong", locked_server)
    _same_failure(make_app(url, task_publish_retry_policy=POLICY), 5)


def test_no_password(locked_server: RedisServer, make_app: MakeApp) -> None:
    _same_failure(make_app(locked_server.url, task_publish_retry_policy=POLICY), 5)


def test_a_user_who_may_not_write(
    locked_server: RedisServer, make_app: MakeApp
) -> None:
    url = _as("reader", PASSWORD, locked_server)
    _same_failure(make_app(url, task_publish_retry_policy=POLICY), 5)


def test_a_password_that_is_changed(make_app: MakeApp) -> None:
    """Who is connected stays so; a new connection needs the new one."""
    client = {"password": PASSWORD}
    with redis_server(options={"requirepass": PASSWORD}, client=client) as server:
        app = make_app(_as("", PASSWORD, server), task_publish_retry_policy=POLICY)

        async def main(admin: Any) -> None:
            await app.add.adelay(1, 2)
            await asyncio.to_thread(admin.config_set, "requirepass", "another")
            await app.add.adelay(1, 2)
            kill = partial(admin.client_kill_filter, _type="normal", skipme=True)
            await asyncio.to_thread(kill)
            with pytest.raises(OperationalError):
                await app.add.adelay(1, 2)
            await asyncio.to_thread(admin.config_set, "requirepass", PASSWORD)
            await app.add.adelay(1, 2)

        with server.admin() as admin:
            asyncio.run(main(admin))


def test_unix_socket(shared_server: RedisServer, make_app: MakeApp) -> None:
    url = f"redis+socket://{shared_server.unix_socket}?virtual_host=3"
    app = make_app(url)
    _sends(app, shared_server, db=3)


@pytest.mark.parametrize("db", [0, 7])
def test_database(shared_server: RedisServer, make_app: MakeApp, db: int) -> None:
    _sends(make_app(shared_server.url[:-1] + str(db)), shared_server, db=db)


def test_an_unknown_database(shared_server: RedisServer, make_app: MakeApp) -> None:
    url = shared_server.url[:-1] + "99"
    _same_failure(make_app(url, task_publish_retry_policy=POLICY), 5)


def test_the_second_of_a_list(shared_server: RedisServer, make_app: MakeApp) -> None:
    dead = f"redis://127.0.0.1:{free_port()}/0"
    _sends(make_app(f"{dead};{shared_server.url}"), shared_server)


def test_the_first_of_a_list_dies(server: RedisServer, make_app: MakeApp) -> None:
    with redis_server() as second:
        burst = Burst(make_app(f"{server.url};{second.url}"), {"publish_timeout": 10})

        async def die() -> None:
            await burst.reached(200)
            with burst.fault():
                await asyncio.to_thread(server.kill)

        asyncio.run(burst.run(1000, die, workers=100))
        in_the_second = burst.confirmed - burst.lost([second])
        wrong = [e for e in burst.errors if not isinstance(e, OperationalError)]
        print(f"{len(burst.errors)} raised, {len(in_the_second)} in the second")
        assert not wrong
        assert len(in_the_second) > 500
