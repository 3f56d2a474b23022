"""The rules of the house, read off the source with `ast`.

Imports go one way (core, then drivers and mixins, then install, then the
tools on top); the things that must exist once exist in one file.
"""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "celery_async_bridge"
MAX_LINES = 400

# A module may import its own room and the rooms named here; `""` is the
# package itself, the public API.
ROOMS: dict[str, frozenset[str]] = {}
_LOW = {"core", "errors", "typing"}
_MIXINS = {"mixins", "mixins.kombu", "mixins.celery", "plan"}
_INSTALL = {"seams", "install", "explain", "lifespan"}
_API = {*_LOW, *_MIXINS, *_INSTALL, ""}
for _room, _may in {
    "core": set(),
    # Public exceptions subclass upstream's, so core cannot know them.
    "errors": {"core"},
    "typing": {"core", "errors"},
    # A broker that any driver may carry; as pure as core.
    "embedded": set(),
    "drivers": _LOW | {"embedded"},
    "plan": _LOW,
    "mixins": _LOW,
    "mixins.kombu": _LOW | {"mixins", "plan"},
    "mixins.amqp": _LOW | {"mixins", "mixins.kombu"},
    "mixins.celery": _LOW | {"mixins", "plan", "mixins.kombu"},
    **dict.fromkeys(_INSTALL, _LOW | _MIXINS | _INSTALL),
    "worker": _API,
    "contrib": _API | {"worker"},
    # Virtual time is that of the broker in the process.
    "testing": _API | {"worker", "embedded"},
    "demo": _API | {"worker"},
    # Upstream's files as source; patched ones import the mixins and one helper of it.
    "patching": {"core", "mixins"},
    "cli": _API | {"worker", "testing", "demo", "patching"},
    "_tools": _API | {"patching"},
}.items():
    ROOMS[_room] = frozenset(_may)
# The doors: importing them has no effect, or is done for its effect.
DOORS = frozenset({"", "auto", "__main__"})

HOSTS = frozenset({"kombu", "celery"})
ASYNC_CLIENTS = (
    "redis.asyncio",
    "valkey.asyncio",
    "aioredis",
    "coredis",
    "aiormq",
    "aio_pika",
    "pamqp",
    "aiosqlite",
    "asyncpg",
    "aiomysql",
    "asyncmy",
    "psycopg",
    "sqlalchemy.ext.asyncio",
    "aiobotocore",
    "motor",
    "aiokafka",
    "nats",
    "httpx",
    "aiohttp",
)
CLIENTS = (*ASYNC_CLIENTS, "redis", "valkey", "amqp", "sqlalchemy")
HOPS = frozenset({"sync_to_async", "SyncToAsync", "run_in_executor", "to_thread"})
# Written in pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(
    r"/(?:work|farm|root)/(?!<)|/(?:home|Users)/[a-z]|/tmp/(?:lab|dev)\b"
    r"|site-packages[/]celery_async"
)


@dataclass(frozen=True)
class Import:
    """One imported module: dotted name, line, and whether it runs at import."""

    name: str
    line: int
    at_import: bool


@dataclass(frozen=True)
class Source:
    """A module of the package: its dotted name below the package, its text."""

    module: str
    text: str
    is_package: bool = False

    @property
    def room(self) -> str:
        """The room the module lives in."""
        return room_of(self.module)

    @property
    def tree(self) -> ast.Module:
        """The parsed text."""
        return ast.parse(self.text)

    def imports(self) -> Iterator[Import]:
        """Every import, wherever it stands, with relative names resolved."""
        yield from self._imports(self.tree, at_import=True)

    def _imports(self, node: ast.AST, *, at_import: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_import)
            elif isinstance(child, ast.ImportFrom):
                base = self._absolute(child)
                if base != PACKAGE:  # `from package import room` is the room
                    yield Import(base, child.lineno, at_import)
                for alias in child.names:
                    yield Import(f"{base}.{alias.name}", child.lineno, at_import)
            elif _is_import_call(child):
                assert isinstance(child, ast.Call)
                argument = child.args[0]
                assert isinstance(argument, ast.Constant)
                yield Import(str(argument.value), child.lineno, at_import)
            inner = at_import and not isinstance(
                child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
            )
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for part in child.body:
                    wrapped = ast.Module([part], [])
                    yield from self._imports(wrapped, at_import=False)
                for part in child.orelse:
                    wrapped = ast.Module([part], [])
                    yield from self._imports(wrapped, at_import=inner)
            else:
                yield from self._imports(child, at_import=inner)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = [PACKAGE, *filter(None, self.module.split("."))]
        drop = node.level - self.is_package
        parts = parts[: len(parts) - drop]
        return ".".join([*parts, *filter(None, [node.module])])


def _is_import_call(node: ast.AST) -> bool:
    """`import_module("name")` and `__import__("name")` with a literal."""
    if not (isinstance(node, ast.Call) and node.args):
        return False
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else ""
    name = called.id if isinstance(called, ast.Name) else name
    argument = node.args[0]
    return (
        name in {"import_module", "__import__"}
        and isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
    )


def room_of(module: str) -> str:
    """The room of a module named below the package; unknown rooms by name."""
    parts = module.split(".")
    if parts[0] == "mixins" and parts[1:2] in (["kombu"], ["celery"], ["amqp"]):
        return ".".join(parts[:2])
    return parts[0]


def _is(name: str, roots: frozenset[str] | tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


def _inner(name: str) -> str | None:
    """A dotted name below the package, or None for another package's."""
    if name == PACKAGE:
        return ""
    return name.removeprefix(PACKAGE + ".") if _is(name, (PACKAGE,)) else None


# -- the rules: each yields what is wrong ------------------------------------


def layer_order(source: Source) -> Iterator[str]:
    """Imports go one way."""
    room = source.room
    if room in DOORS:
        return
    if room not in ROOMS:
        yield f"{room!r} is not a room of the architecture: give it a layer"
        return
    for item in source.imports():
        target = _inner(item.name)
        if target is not None:
            goal = room_of(target)
            goal = goal if goal in ROOMS else ""
            if goal != room and goal not in ROOMS[room]:
                yield f"line {item.line}: {room} imports {goal or 'the package'}"


def core_is_pure(source: Source) -> Iterator[str]:
    """core and the embedded broker know neither kombu nor celery nor any client."""
    if source.room in {"core", "embedded"}:
        for item in source.imports():
            if _is(item.name, CLIENTS) or _is(item.name, HOSTS):
                yield f"line {item.line}: imports {item.name}"


def clients_in_drivers(source: Source) -> Iterator[str]:
    """Async clients are imported under drivers/ only."""
    if source.room != "drivers":
        for item in source.imports():
            if _is(item.name, ASYNC_CLIENTS):
                yield f"line {item.line}: imports {item.name} outside drivers"


def one_thread_hop(source: Source) -> Iterator[str]:
    """Only core/offload.py hops to a thread."""
    if source.module != "core.offload":
        for node in ast.walk(source.tree):
            name = getattr(node, "attr", None) or getattr(node, "id", None)
            if isinstance(node, ast.alias):
                name = node.name
            if isinstance(node, ast.Attribute | ast.Name | ast.alias) and name in HOPS:
                yield f"line {node.lineno}: {name} outside core/offload.py"


def one_greenlet(source: Source) -> Iterator[str]:
    """Only core/trampoline.py knows greenlets."""
    if source.module != "core.trampoline":
        for item in source.imports():
            if _is(item.name, ("greenlet", "gevent", "eventlet")):
                yield f"line {item.line}: {item.name} outside core/trampoline.py"


def not_too_long(source: Source) -> Iterator[str]:
    """A module fits in a head."""
    length = len(source.text.splitlines())
    if length > MAX_LINES:
        yield f"{length} lines, at most {MAX_LINES}"


def says_what_it_offers(source: Source) -> Iterator[str]:
    """Every module has a tuple `__all__`."""
    for node in source.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            if not isinstance(getattr(node, "value", None), ast.Tuple):
                yield f"line {node.lineno}: __all__ is not a tuple"
            return
    yield "no __all__"


def light_at_import(source: Source) -> Iterator[str]:
    """The package and the mixins import neither kombu nor celery at import.

    A statically patched upstream imports the mixins: they must not import it
    back.
    """
    if source.module in {"", "mixins"} or source.room.startswith("mixins"):
        for item in source.imports():
            if item.at_import and _is(item.name, HOSTS):
                yield f"line {item.line}: imports {item.name} at import"


RULES: tuple[Callable[[Source], Iterator[str]], ...] = (
    layer_order,
    core_is_pure,
    clients_in_drivers,
    one_thread_hop,
    one_greenlet,
    not_too_long,
    says_what_it_offers,
    light_at_import,
)


# -- the tree ----------------------------------------------------------------


def sources() -> list[Source]:
    """Every module of the package."""
    found = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        found.append(Source(module, path.read_text(encoding="utf-8"), is_package))
    return found


def tracked_files() -> list[Path]:
    """The files that git knows; every file where there is no git."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        names = listed.stdout.decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    skipped = {"__pycache__", ".ci", ".git"}
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not skipped & set(path.relative_to(ROOT).parts)
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_tree_keeps_rule(rule: Callable[[Source], Iterator[str]]) -> None:
    wrong = [
        f"{source.module or PACKAGE}: {text}"
        for source in sources()
        for text in rule(source)
    ]
    assert not wrong, "\n".join([rule.__doc__ or "", *wrong])


def test_tree_is_there() -> None:
    modules = {source.module for source in sources()}
    assert {"", "core.offload", "core.trampoline", "core.graft"} <= modules


def test_mixins_and_package_import_without_upstream() -> None:
    names = [
        f"{PACKAGE}.{source.module}".rstrip(".")
        for source in sources()
        if source.room in {"", "core"} or source.room.startswith("mixins")
    ]
    code = (
        "import importlib, sys\n"
        "sys.modules['kombu'] = sys.modules['celery'] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_setup_cfg_is_small_and_unambiguous() -> None:
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.read_string(text)  # strict: a duplicate key or section raises
    assert parser.sections() == ["flake8"]


def test_no_machine_path_is_tracked() -> None:
    wrong = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if MACHINE_PATH.search(line)
        ]
    assert not wrong, "\n".join(wrong)


# -- the checker is checked: each bad snippet must be found ------------------

BAD = [
    (layer_order, "core.x", "from ..drivers import memory"),
    (layer_order, "core.x", "import celery_async_bridge.mixins.kombu.pools"),
    (layer_order, "core.x", "from celery_async_bridge import install"),
    (layer_order, "core.x", "from .. import explain"),
    (layer_order, "drivers.redis.x", "from ...mixins.kombu import pools"),
    (layer_order, "mixins.kombu.x", "from ...drivers.redis import mux"),
    (layer_order, "mixins.kombu.x", "from ..celery.app import task"),
    (layer_order, "mixins.celery.x", "def f():\n  from ...install import plan"),
    (layer_order, "mixins.celery.x", "import_module('celery_async_bridge.worker')"),
    (layer_order, "install", "from .worker import pool"),
    (layer_order, "worker.x", "from ..cli import doctor"),
    (layer_order, "attic.x", "x = 1"),
    (core_is_pure, "core.x", "def f():\n  import kombu"),
    (core_is_pure, "core.x", "from celery.app import base"),
    (core_is_pure, "core.x", "import redis"),
    (core_is_pure, "embedded.x", "from amqp import exceptions"),
    (layer_order, "embedded.x", "from ..core import loops"),
    (layer_order, "mixins.kombu.x", "from ...embedded import broker"),
    (layer_order, "core.x", "from ..errors import BridgeError"),
    (clients_in_drivers, "mixins.kombu.x", "from redis import asyncio"),
    (clients_in_drivers, "worker.x", "def f():\n  import aiormq"),
    (one_thread_hop, "mixins.kombu.x", "from asgiref.sync import sync_to_async"),
    (one_thread_hop, "worker.x", "loop.run_in_executor(None, f)"),
    (one_thread_hop, "core.x", "import asyncio\nasyncio.to_thread(f)"),
    (one_greenlet, "core.x", "from greenlet import getcurrent"),
    (not_too_long, "core.x", "x = 1\n" * (MAX_LINES + 1)),
    (says_what_it_offers, "core.x", "x = 1"),
    (says_what_it_offers, "core.x", "__all__ = ['x']"),
    (light_at_import, "mixins.kombu.x", "from kombu import Connection"),
    (light_at_import, "mixins.celery.x", "class A:\n  import celery"),
    (light_at_import, "", "if True:\n  import celery"),
]

GOOD = [
    (layer_order, "drivers.redis.x", "from celery_async_bridge import errors"),
    (layer_order, "drivers.redis.x", "from ... import errors"),
    (layer_order, "core.x", "from . import loops\nfrom .lane import Lane"),
    (layer_order, "errors", "from .core.lane import Expired"),
    (layer_order, "drivers.embedded.x", "from ...embedded.broker import Broker"),
    (layer_order, "drivers.redis.x", "from ..memory import wire\nimport asyncio"),
    (layer_order, "mixins.celery.app.x", "from ...kombu import pools"),
    (layer_order, "worker.x", "from celery_async_bridge import install"),
    (layer_order, "", "from .install import install"),
    (core_is_pure, "errors", "import kombu.exceptions"),
    (clients_in_drivers, "drivers.redis.mux", "import redis.asyncio"),
    (clients_in_drivers, "testing.x", "import redis"),
    (one_thread_hop, "core.offload", "from asgiref.sync import sync_to_async"),
    (one_greenlet, "core.trampoline", "import greenlet"),
    (not_too_long, "core.x", "x = 1\n" * MAX_LINES),
    (says_what_it_offers, "core.x", "__all__: tuple[str, ...] = ()"),
    (light_at_import, "mixins.kombu.x", "def f():\n  import kombu"),
    (
        light_at_import,
        "mixins.kombu.x",
        "if TYPE_CHECKING:\n  import kombu\nelse:\n  kombu = None",
    ),
]


@pytest.mark.parametrize(("rule", "module", "text"), BAD)
def test_checker_finds(
    rule: Callable[[Source], Iterator[str]], module: str, text: str
) -> None:
    assert list(rule(Source(module, text)))


@pytest.mark.parametrize(("rule", "module", "text"), GOOD)
def test_checker_accepts(
    rule: Callable[[Source], Iterator[str]], module: str, text: str
) -> None:
    assert not list(rule(Source(module, text)))


def test_checker_resolves_relative_names() -> None:
    module = Source("mixins.kombu.pools", "from ..celery import x")
    package = Source("mixins.kombu", "from ..celery import x", is_package=True)
    root = Source("", "from .install import x", is_package=True)
    assert next(module.imports()).name == f"{PACKAGE}.mixins.celery"
    assert next(package.imports()).name == f"{PACKAGE}.mixins.celery"
    assert next(root.imports()).name == f"{PACKAGE}.install"


def test_checker_finds_machine_paths() -> None:
    for parts in (("", "work", "x"), ("", "root", ".cache"), ("", "home", "jo", "x")):
        assert MACHINE_PATH.search("/".join(parts))
    assert not MACHINE_PATH.search("https://example.org/network/home.html")
