"""Patch upstream in an environment of its own, and run what must hold there.

Usage: python -m tests.patches.clean_venv [--release 5.7] [--quick] [--keep DIR]

It installs this checkout as a wheel and the newest pinned releases of a minor version
of Kombu and Celery, patches them by the installed command, and looks at imports, types,
RECORD, the demo, the contract suite without `install()` (thread tier) and with it, and
at what `revert` and `pip uninstall` leave. `--quick` leaves the contract suite out,
which takes some ten minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from celery_async_bridge.patching.gains import PACKAGES
from celery_async_bridge.patching.pins import released
from tests.unit.patching.packages import untrue

__all__ = ("Place", "main", "prepare")

ROOT = Path(__file__).parents[2]
#: What pytest needs of a checkout; not the package, which is the installed one.
_NEEDED = ("tests", "docs", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Place:
    """An environment.

    Attributes:
        home: the directory of the environment.
        work: the current directory of what runs there: tests without the package.
    """

    home: Path
    work: Path

    @property
    def python(self) -> str:
        """The interpreter."""
        return str(self.home / "bin" / "python")

    @property
    def site(self) -> Path:
        """The site-packages directory."""
        return next(self.home.glob("lib/python*/site-packages"))

    def run(
        self, *command: str, status: int = 0, env: Mapping[str, str] | None = None
    ) -> str:
        """Run the interpreter with arguments; return what it prints."""
        done = subprocess.run(
            [self.python, *command],
            cwd=self.work,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != status:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}")
        return done.stdout

    def patches(self, *arguments: str, status: int = 0) -> str:
        """Run the installed command."""
        command = str(self.home / "bin" / "celery-async-bridge")
        return self.run(command, "patches", *arguments, status=status)


def prepare(folder: Path, minor: str) -> Place:
    """Make the environment, not yet patched."""
    place = Place(folder / "venv", folder / "work")
    subprocess.run([sys.executable, "-m", "venv", str(place.home)], check=True)
    place.work.mkdir()
    for name in _NEEDED:
        source, target = ROOT / name, place.work / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    pins = [f"{name}=={_newest(name, minor)}" for name in ("kombu", "celery")]
    pip = ("-m", "pip", "--disable-pip-version-check")
    wheels = folder / "wheels"
    place.run(*pip, "wheel", "-q", "--no-deps", "-w", str(wheels), str(ROOT))
    wheel = next(wheels.glob("celery_async_bridge-*.whl"))
    place.run(*pip, "install", "-q", f"{wheel}[test]", *pins, "mypy>=2.4,<2.5")
    return place


def _newest(package: str, minor: str) -> str:
    return [one for one in released(package) if one.startswith(f"{minor}.")][-1]


def _tree(place: Place) -> dict[str, bytes]:
    names = [*PACKAGES, *(p.name for p in place.site.glob("*.dist-info"))]
    return {
        path.relative_to(place.site).as_posix(): path.read_bytes()
        for name in names
        for path in (place.site / name).rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and path.name.partition("-")[0] != "celery_async_bridge"
    }


def check_patched(place: Place) -> None:
    """It is patched once, compiles, and RECORD is true."""
    before = _tree(place)
    assert "not patched" in place.patches("check")
    place.patches("check", "--patched", status=1)
    place.patches("apply")
    place.patches("check", "--patched")
    patched = _tree(place)
    assert patched != before
    assert "nothing to do" in place.patches("apply")
    assert _tree(place) == patched
    assert not untrue(place.site)
    folders = [str(place.site / name) for name in PACKAGES]
    place.run("-m", "compileall", "-q", *folders)
    place.patches("make")
    place.patches("revert")
    assert _tree(place) == before
    assert not [path for path in place.site.rglob("*") if path.name.startswith(".")]
    place.patches("apply")


# A new process for each first import; forked, since starting Python takes longer.
_FIRSTS = """
import itertools, os, sys, traceback

PACKAGES = ("amqp", "kombu", "celery", "celery_async_bridge")

def works(code):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    try:
        exec(code)
        import celery, kombu
        from celery_async_bridge.install import journal
        assert kombu.Producer.apublish and celery.Task.adelay and journal() is None
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

orders = [*itertools.permutations(PACKAGES), *([name] for name in sys.argv[1:])]
codes = ["; ".join(map("import {}".format, order)) for order in orders]
print(len(codes), "first imports")
assert all([works(code) for code in codes])
"""
_MODULES = """
import pkgutil
import celery_async_bridge
from celery_async_bridge.patching.gains import PACKAGES, rows

print(*{row.module for package in PACKAGES for row in rows(package)})
path, top = celery_async_bridge.__path__, "celery_async_bridge."
print(*(one.name for one in pkgutil.walk_packages(path, top)))
"""
_HAS_TASKS = """
from importlib.util import find_spec

print(find_spec("django") is not None and find_spec("django.tasks") is not None)
"""


def check_imports(place: Place) -> None:
    """Each package, and each module of ours or patched, may be the first import."""
    # One is imported for its effect, the other is no module to import.
    done = {"celery_async_bridge.auto", "celery_async_bridge.__main__"}
    if "True" not in place.run("-c", _HAS_TASKS):
        # Those behind its task backend; it says so itself where it is named.
        rooms = ("backend", "records", "runner")
        done |= {f"celery_async_bridge.contrib.django.{name}" for name in rooms}
    names = [name for name in place.run("-c", _MODULES).split() if name not in done]
    said = place.run("-W", "error", "-c", _FIRSTS, *names)
    print("  ", said.strip())


_USE = """
from kombu.messaging import Producer
from kombu.simple import SimpleQueue

async def use(producer: Producer, queue: SimpleQueue) -> None:
    await producer.apublish({}, routing_key="x", publish_timeout=3)
    await queue.aput("x", serializer=3)
    reveal_type(queue.aget)
"""


def check_types(place: Place) -> None:
    """Type checkers see the twins, with their parameters; Kombu 5.7 is typed."""
    if not (place.site / "kombu" / "py.typed").exists():
        print("   (this Kombu has no types)")
        return
    file = place.work / "use.py"
    file.write_text(_USE, encoding="utf-8")
    command = ("-m", "mypy", "--config-file=", "--strict", str(file))
    said = place.run(*command, status=1)
    assert '"serializer" has incompatible type "int"' in said, said
    assert "timeout: float | None" in said, said
    assert "Found 1 error" in said, said


_NOTHING = """
import celery_async_bridge
from celery_async_bridge.install import journal
from celery import Celery

app = Celery("x", broker="memory://", backend="cache+memory://", set_as_current=False)
report = celery_async_bridge.explain(app)
assert not report.installed
assert {row.tier for row in report} == {"thread"}, report
assert celery_async_bridge.install() == []
assert not journal().grafts
assert journal().seams
tiers = {row.tier for row in celery_async_bridge.explain(app)}
assert {"native", "inline"} <= tiers and "upstream" not in tiers, tiers
celery_async_bridge.uninstall()
assert hasattr(app.Task, "adelay")
"""


def check_install(place: Place) -> None:
    """`install()` adds no name, and the seams."""
    place.run("-W", "error", "-c", _NOTHING)


def check_demo(place: Place) -> None:
    """The demo passes."""
    said = place.run("-m", "celery_async_bridge", "demo")
    assert "everything worked" in said, said
    assert "install  0 awaitable methods" in said, said


def _contract(place: Place, **env: str) -> None:
    plugin = "tests.patches.contract_plugin"
    command = ("-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider")
    said = place.run(*command, "tests/contract", env=env)
    print("  ", said.strip().splitlines()[-1])


def check_contract_without_install(place: Place) -> None:
    """The contract holds on the thread tier where `install()` does nothing."""
    _contract(place, CELERY_ASYNC_BRIDGE="0")


def check_contract_with_install(place: Place) -> None:
    """The whole contract holds after `install()`, which grafts nothing."""
    _contract(place)


def check_uninstall(place: Place) -> None:
    """Uninstalling the packages leaves no file of theirs or of ours behind."""
    place.run("-m", "pip", "uninstall", "-q", "-y", *PACKAGES)
    left = [
        str(path)
        for name in (*PACKAGES, *(f"{name}-*.dist-info" for name in PACKAGES))
        for top in place.site.glob(name)
        for path in top.rglob("*")
        if path.is_file()
    ]
    assert not left, left


QUICK: tuple[Callable[[Place], None], ...] = (
    check_patched,
    check_imports,
    check_types,
    check_install,
    check_demo,
    check_uninstall,
)
WHOLE = (
    *QUICK[:-1],
    check_contract_without_install,
    check_contract_with_install,
    check_uninstall,
)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="clean_venv", description=__doc__)
    parser.add_argument("--release", default="5.7", help="the minor version (5.7)")
    parser.add_argument("--quick", action="store_true", help="no contract suite")
    parser.add_argument("--keep", type=Path, help="work here, and leave it")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        place = prepare(options.keep or Path(scratch), options.release)
        for check in QUICK if options.quick else WHOLE:
            print(f"{check.__name__}: {check.__doc__}", flush=True)
            check(place)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
