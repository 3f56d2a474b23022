"""Run upstream's own unit suites, without and with the bridge.

The sdists of the installed kombu and celery carry `t/unit`. They are unpacked
beside a virtual environment that has what those suites need; each suite runs
there twice, and the tests that fail are compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

Mode = Literal["plain", "bridge", "imports"]

ROOT = Path(__file__).parents[2]

# What the suites do not run without, and what turns skips into tests. The
# second list may fail to install: both runs then lack it.
NEEDED = (
    "pytest>=8.4,<10",
    "pytest-click",
    "pytest-freezer",
    "pytest-order",
    "pytest-rerunfailures",
    "pytest-timeout",
    "asgiref>=3.8",
    "greenlet>=3.1",
    "hypothesis",
    "typing_extensions>=4.10",
)
WELCOME = (
    "boto3",
    "cryptography",
    "django",
    "fakeredis[lua]",
    "kazoo",
    "moto",
    "msgpack",
    "pydantic",
    "pymemcache",
    "pymongo",
    "pyyaml",
    "tblib",
)

# The files that touch what the bridge grafts onto or makes a seam.
FAST = {
    "kombu": (
        "t/unit/test_common.py",
        "t/unit/test_connection.py",
        "t/unit/test_entity.py",
        "t/unit/test_message.py",
        "t/unit/test_messaging.py",
        "t/unit/test_mixins.py",
        "t/unit/test_pidbox.py",
        "t/unit/test_pools.py",
        "t/unit/test_simple.py",
        "t/unit/transport/test_filesystem.py",
        "t/unit/transport/test_memory.py",
        "t/unit/transport/test_redis.py",
        "t/unit/transport/virtual",
    ),
    "celery": (
        "t/unit/app/test_amqp.py",
        "t/unit/app/test_app.py",
        "t/unit/app/test_backends.py",
        "t/unit/app/test_control.py",
        "t/unit/backends/test_base.py",
        "t/unit/backends/test_redis.py",
        "t/unit/backends/test_rpc.py",
        "t/unit/concurrency/test_concurrency.py",
        "t/unit/events/test_events.py",
        "t/unit/tasks",
        "t/unit/test_canvas.py",
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What one run of a suite gave."""

    collected: int
    passed: int
    failed: frozenset[str]
    grafted: int


class SuiteError(Exception):
    """A suite could not be run to its end."""


def cache() -> Path:
    """Where sdists and environments are kept between runs."""
    named = os.environ.get("BRIDGE_CI_CACHE")
    return (Path(named) if named else ROOT / ".ci" / "cache") / "upstream"


def _call(*command: str | Path, cwd: Path | None = None, timeout: float = 900) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        words = " ".join(Path(str(part)).name for part in command[:4])
        raise SuiteError(f"{words} failed:\n{done.stdout[-4000:]}")
    return done.stdout


class Workshop:
    """The environment, the unpacked sdists and the bridge to test."""

    def __init__(self) -> None:
        self.versions = {name: version(name) for name in ("kombu", "celery", "redis")}
        key = repr((sys.version_info[:2], self.versions, NEEDED, WELCOME))
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        self.home = cache() / digest
        self.python = self.home / "venv" / "bin" / "python"
        if os.name == "nt":
            self.python = self.home / "venv" / "Scripts" / "python.exe"

    def prepare(self) -> None:
        """Build what is not there yet; the bridge is always built anew."""
        self.home.mkdir(parents=True, exist_ok=True)
        ready = self.home / "ready"
        if not ready.exists():
            self._make_environment()
            for name in FAST:
                self._unpack(name)
            ready.touch()
        target = self.home / "bridge"
        shutil.rmtree(target, ignore_errors=True)
        self._pip("install", "--no-deps", "--target", target, ROOT)

    def _pip(self, *arguments: str | Path) -> str:
        options = ("--disable-pip-version-check", "--quiet")
        return _call(self.python, "-m", "pip", *arguments, *options)

    def _make_environment(self) -> None:
        _call(sys.executable, "-m", "venv", "--clear", self.home / "venv")
        pins = [f"{name}=={number}" for name, number in self.versions.items()]
        self._pip("install", *pins, "sqlalchemy>=2.0.25", *NEEDED)
        try:
            self._pip("install", *pins, *WELCOME)
        except SuiteError as exc:
            print(f"some welcome requirements are missing: {exc}")

    def _unpack(self, name: str) -> None:
        wanted = f"{name}=={self.versions[name]}"
        store = self.home / "sdist"
        # pip asks the sdist for its metadata, in an environment of its own.
        self._pip("download", "--no-deps", "--no-binary", name, "-d", store, wanted)
        (archive,) = store.glob(f"{name}-*.tar.gz")
        goal = self.home / "src" / name
        shutil.rmtree(goal, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.home) as scratch:
            with tarfile.open(archive) as tar:
                if hasattr(tarfile, "data_filter"):
                    tar.extractall(scratch, filter="data")
                else:
                    tar.extractall(scratch)
            (top,) = Path(scratch).iterdir()
            if not (top / "t" / "unit" / "conftest.py").exists():
                raise SuiteError(f"the sdist of {wanted} has no t/unit")
            # Only the installed package may be imported, not the sdist's copy.
            shutil.rmtree(top / name)
            goal.parent.mkdir(exist_ok=True)
            shutil.move(top, goal)

    def run(
        self,
        name: str,
        files: tuple[str, ...],
        mode: Mode,
        *,
        timeout: float,
        plugins: tuple[str, ...] = (),
    ) -> Outcome:
        """Run `files` of a suite and return what failed.

        `mode` is `plain`, `bridge`, or, after a run of that kind, `imports`:
        without the bridge, but with the modules imported that it imports. `plugins`
        are loaded after ours.
        """
        source = self.home / "src" / name
        files = tuple(file for file in files if (source / file).exists())
        report = self.home / f"report-{name}-{mode}.json"
        report.unlink(missing_ok=True)
        path = [str(Path(__file__).parent)]
        if mode == "bridge":
            path.insert(0, str(self.home / "bridge"))
        dropped = ("PYTEST_", "CELERY_", "PYTHON", "COV_", "C_FORCE_ROOT", "DJANGO_")
        env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        env |= {
            "PYTHONPATH": os.pathsep.join(path),
            "BRIDGE_UPSTREAM_MODE": mode,
            "BRIDGE_UPSTREAM_MODULES": str(self.home / "modules.json"),
            "BRIDGE_UPSTREAM_REPORT": str(report),
        }
        command = [str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "bridge_plugin", "-p", "celery.contrib.pytest"]
        command += [word for plugin in plugins for word in ("-p", plugin)]
        command += ["-W", "ignore", "--timeout", "120", "--tb", "short"]
        command += ["--continue-on-collection-errors", *files]
        log = report.with_suffix(".log")
        with log.open("w") as out:
            subprocess.run(
                command,
                cwd=source,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        if not report.exists():
            raise SuiteError(f"{name}: no report\n{log.read_text()[-4000:]}")
        result = json.loads(report.read_text())
        return Outcome(
            collected=result["collected"],
            passed=result["passed"],
            failed=frozenset(result["failed"]),
            grafted=result["grafted"],
        )


def files_of(ids: frozenset[str]) -> tuple[str, ...]:
    """The files that hold these test ids."""
    return tuple(sorted({i.partition(" ")[0].partition("::")[0] for i in ids}))
