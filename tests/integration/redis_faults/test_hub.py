"""An asyncio worker's hub, however Redis is reached, and when it goes away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from kombu.exceptions import OperationalError

from tests.redis_servers import (
    MASTER,
    RedisServer,
    eventually,
    redis_server,
    sentinel_set,
    tls_server,
)
from tests.sweep import ignore_unclosed
from tests.unit.drivers.redis.hub_site import Site

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [ignore_unclosed, pytest.mark.redis]

#: Longer than what is read at once, and than what TLS puts in one record.
LARGE = ["x" * 100_000] * 20


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


def takes_everything(site: Site) -> None:
    site.consume(prefetch=15)
    site.idle()
    site.put(*range(100), *LARGE)
    done = 0
    while done < 120:
        site.until(lambda: len(site.got) > done)  # noqa: B023 (called at once)
        site.ack(*site.got[done:])
        done = len(site.got)
    assert [message.payload for message in site.got] == [*range(100), *LARGE]
    site.until(lambda: not site.noted())
    assert site.channel.client.connection._sock is site.intake._line._sock


def test_over_tls(tmp_path: Path) -> None:
    with tls_server(tmp_path) as (server, files), server.admin() as admin:
        words = f"ssl_cert_reqs=required&ssl_ca_certs={files.authority}"
        url = f"rediss://127.0.0.1:{server.port}/0?{words}"
        with closing(Site(url, "tls", admin)) as site:
            takes_everything(site)


def test_over_a_unix_socket(server: RedisServer) -> None:
    with server.admin() as admin:
        url = f"redis+socket://{server.unix_socket}"
        with closing(Site(url, "unix", admin)) as site:
            takes_everything(site)


def test_another_master_is_followed() -> None:
    with (
        sentinel_set() as found,
        found.master().admin() as admin,
        closing(Site(found.url, "s", admin, master_name=MASTER)) as site,
    ):
        takes_everything(site)
        found.fail_over()
        lost(site)
        with found.master().admin() as other:
            site.server = other
            site.put("there")
            assert site.come(1) == ["there"]


def test_a_server_that_was_away_knows_no_scripts() -> None:
    with redis_server() as server, closing(Site(server.url, "r")) as site:
        takes_everything(site)
        server.restart()
        lost(site)
        site.put("there")
        assert site.come(1) == ["there"]


def test_a_server_that_has_forgotten_its_scripts(server: RedisServer) -> None:
    with closing(Site(server.url, "f")) as site:
        takes_everything(site)
        site.server.script_flush()
        site.put("there")
        assert site.come(121)[-1] == "there"
        site.server.script_flush()
        site.ack(site.got[-1])
        site.until(lambda: not site.noted())


def lost(site: Site) -> None:
    with pytest.raises(site.connection.connection_errors):
        site.until(lambda: False)

    def back() -> Any:
        try:
            site.again()
        except (OperationalError, *site.connection.connection_errors):
            return False
        return True

    eventually(back, 20, what="a connection")
