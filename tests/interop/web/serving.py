"""Real web servers with the example projects: started, visited, ended by their pid."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from site import getuserbase
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = ROOT / "docs" / "examples"
#: Seconds for anything; the machine may have a lot to do.
PATIENCE = 60.0
#: What a server that has closed everything does not write.
NOISE = re.compile(
    r"never awaited|unclosed|loop is closed|Traceback|was destroyed", re.IGNORECASE
)


@dataclass(frozen=True)
class Kind:
    """How a server is started.

    Attributes:
        words: the module and its arguments; `{fd}` is the socket on which it listens.
        needs: modules without which it cannot run.
        ends: its exit statuses after SIGTERM.
        rests: its connections to the broker between requests: one for a loop, none
            where a loop lives for one request.
    """

    words: str
    needs: tuple[str, ...]
    ends: tuple[int, ...] = (0,)
    rests: int = 1


_ASGI = "website.asgi:application"
#: Every server with the Django project, by name.
KINDS = {
    "uvicorn": Kind(
        f"uvicorn {_ASGI} --fd {{fd}} --lifespan on",
        ("uvicorn",),
        # It sends itself the signal again when it has closed down.
        (-signal.SIGTERM, 0),
    ),
    "hypercorn": Kind(f"hypercorn {_ASGI} --bind fd://{{fd}}", ("hypercorn",)),
    "daphne": Kind(f"daphne {_ASGI} --fd {{fd}}", ("daphne",)),
    "gunicorn-uvicorn": Kind(
        f"gunicorn {_ASGI} --bind fd://{{fd}} -k uvicorn_worker.UvicornWorker",
        ("gunicorn", "uvicorn_worker"),
    ),
    "gunicorn-gthread": Kind(
        "gunicorn website.wsgi:application --bind fd://{fd} -k gthread --threads 8",
        ("gunicorn",),
        rests=0,
    ),
}
FASTAPI = Kind(
    "uvicorn api:api --fd {fd} --lifespan on",
    ("uvicorn", "fastapi"),
    (-signal.SIGTERM, 0),
)


def require(*modules: str) -> None:
    """Skip where a module is not installed; fail if BRIDGE_TEST_WEB says it must be."""
    for module in modules:
        if find_spec(module) is None:
            tell = pytest.fail if os.environ.get("BRIDGE_TEST_WEB") else pytest.skip
            tell(f"{module} is not installed (extra test-web)")


@dataclass
class Site:
    """A running server, and a visitor of it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    kind: Kind
    _headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str) -> tuple[int, str]:
        """Make a request on a connection of its own; the status and the body."""
        with self.stream(method, path) as answer:
            return answer.status, answer.read().decode()

    @contextmanager
    def stream(self, method: str, path: str) -> Iterator[http.client.HTTPResponse]:
        """The same, to read the body as it comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.request(method, path, headers=self._headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def enter(self) -> None:
        """Read the page, and keep what Django wants to see again in a POST."""
        with self.stream("GET", "/") as answer:
            page = answer.read().decode()
            assert answer.status == 200, page
            cookie = str(answer.getheader("set-cookie")).partition(";")[0]
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert found, page
        self._headers = {"Cookie": cookie, "X-CSRFToken": found[1]}

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """What the server sends of itself."""
        with self.stream("GET", path) as answer:
            assert answer.status == 200
            assert str(answer.getheader("content-type")).startswith("text/event-stream")
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def end(self) -> None:
        """Ask it to end, and see that it does so without a word too many."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        said = self.log.read_text()
        assert status in self.kind.ends, (status, said)
        assert not NOISE.search(said), said


@contextmanager
def serving(
    kind: Kind, folder: str, log: Path, env: Mapping[str, str]
) -> Iterator[Site]:
    """Run a server until the block ends; it need not have been ended by then."""
    require(*kind.needs)
    with socket.socket() as listener, log.open("wb") as output:
        # Who comes before the server is there waits in the queue of the socket.
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        words = kind.words.format(fd=listener.fileno()).split()
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=EXAMPLES / folder,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("SHOP_")},
                **env,
                "PYTHONPATH": str(ROOT),
                # Where gunicorn has a socket of its own.
                "HOME": str(log.parent),
                "PYTHONUSERBASE": str(getuserbase()),
                # What is left open is told, but for the socket that gunicorn gets.
                "PYTHONWARNINGS": "default,ignore::ResourceWarning:gunicorn.arbiter",
            },
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
        )
        site = Site(process, listener.getsockname()[1], log, kind)
    try:
        yield site
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
