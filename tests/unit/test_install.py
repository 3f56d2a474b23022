"""install() adds and takes back; it replaces nothing but the listed seams."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import Celery, Task, shared_task
from kombu.messaging import Producer

import celery_async_bridge
from celery_async_bridge.core.graft import Seam
from celery_async_bridge.install import install, journal, targets, uninstall

ROOT = Path(__file__).parents[2]
_serial = itertools.count()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Start without the bridge; leave it as it was found."""
    was_installed = journal() is not None
    uninstall()
    yield
    uninstall()
    if was_installed:
        install()


def _owners() -> list[Any]:
    """Everything that install() may touch, and what inherits from it."""
    from celery_async_bridge.seams import seams

    found: dict[int, Any] = {}
    todo = [target.owner for target in targets()] + [seam.owner for seam in seams()]
    while todo:
        owner = todo.pop()
        if id(owner) not in found:
            found[id(owner)] = owner
            if isinstance(owner, type):
                todo += [*type.__subclasses__(owner), *owner.__mro__]
    return list(found.values())


def _snapshot() -> dict[str, dict[str, Any]]:
    return {f"{owner!r} {id(owner)}": dict(vars(owner)) for owner in _owners()}


def _python(code: str, **environ: str) -> str:
    """Run a script in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _differences(
    before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]
) -> list[str]:
    return [
        f"{owner}.{name}"
        for owner in before
        for name in before[owner].keys() | after[owner].keys()
        if before[owner].get(name) is not after[owner].get(name)
    ]


def test_uninstall_restores_every_namespace() -> None:
    _snapshot()  # imports what planning imports
    before = _snapshot()
    assert len(before) > 80
    names = install()
    assert len(names) > 400
    changed = _differences(before, _snapshot())
    assert len(changed) >= len(names)
    uninstall()
    after = _snapshot()
    assert _differences(before, after) == []
    assert [list(names) for names in before.values()] == [
        list(after[owner]) for owner in before
    ]


def test_install_replaces_only_the_listed_seams() -> None:
    _snapshot()
    before = _snapshot()
    install()
    current = journal()
    assert current is not None
    # A seam may sit on a class that inherits the attribute.
    seams = {
        (id(seam.owner), seam.name)
        for seam in current.seams
        if seam.name in before[f"{seam.owner!r} {id(seam.owner)}"]
    }
    replaced = {
        (id(owner), name)
        for owner in _owners()
        for name, value in before.get(f"{owner!r} {id(owner)}", {}).items()
        if vars(owner).get(name) is not value
    }
    assert replaced == seams


def test_twice_is_once() -> None:
    first = install()
    grafted = journal()
    assert install() == first
    assert journal() is grafted
    uninstall()
    assert journal() is None
    assert not hasattr(Task, "adelay")
    uninstall()
    assert install() == first


def test_many_threads_install_once() -> None:
    gate = threading.Barrier(8)
    found: list[list[str]] = []

    def run() -> None:
        gate.wait()
        found.append(install())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(names == found[0] for names in found)
    uninstall()
    assert not hasattr(Task, "adelay")


def _table(monkeypatch: pytest.MonkeyPatch, *rows: tuple[str, ...]) -> None:
    table = ModuleType("a_table")
    table.TARGETS = rows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_table", table)
    monkeypatch.setattr(sys.modules[install.__module__], "_TABLES", ("a_table",))


MIXIN = "celery_async_bridge.mixins.kombu.message:MessageMixin"


def test_what_an_older_upstream_lacks_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _table(
        monkeypatch,
        ("kombu.nothing:Message", MIXIN),
        ("no_such_package.message:Message", MIXIN),
        ("kombu.message:Nothing", MIXIN),
        ("kombu.message:Message", MIXIN, "no_such_package"),
    )
    assert list(targets()) == []
    _table(monkeypatch, ("kombu.message:Message", MIXIN, "kombu"))
    monkeypatch.delattr("kombu.message.Message.requeue")
    names = install()
    assert "kombu.message.Message.aack" in names
    assert "kombu.message.Message.arequeue" not in names


def test_a_broken_mixin_is_not_mistaken_for_an_older_upstream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _table(monkeypatch, ("kombu.message:Message", "no_such_package.mixin:Mixin"))
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        install()
    _table(monkeypatch, ("kombu.message:Message", f"{MIXIN}Nothing"))
    with pytest.raises(AttributeError, match="MessageMixinNothing"):
        install()
    assert journal() is None


def test_a_failing_graft_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(original: Any) -> Any:
        raise RuntimeError("half-way")

    import celery_async_bridge.seams as table

    rows = table.seams()
    broken = [*rows[:2], Seam(Producer, "publish", make, "a", "a test")]
    monkeypatch.setattr(table, "seams", lambda: broken)
    before = _snapshot()
    with pytest.raises(RuntimeError, match="half-way"):
        install()
    assert journal() is None
    assert _differences(before, _snapshot()) == []
    monkeypatch.undo()
    assert install()


def test_yields_to_a_method_that_upstream_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async def apublish(self: Any, *args: Any, **kwargs: Any) -> str:
        return "upstream's own"

    full = install()
    uninstall()
    monkeypatch.setattr(Producer, "apublish", apublish, raising=False)
    names = install()
    assert "kombu.messaging.Producer.apublish" not in names
    # `Publisher` inherits it.
    assert set(full) - set(names) == {
        "kombu.messaging.Producer.apublish",
        "kombu.compat.Publisher.apublish",
    }
    assert vars(Producer)["apublish"] is apublish
    rows = {(row.cls, row.method): row for row in celery_async_bridge.explain()}
    assert rows["kombu.messaging.Producer", "apublish"].tier == "upstream"
    uninstall()
    assert vars(Producer)["apublish"] is apublish


def test_a_user_subclass_keeps_its_own_method() -> None:
    class Mine(Task):  # type: ignore[type-arg]
        async def adelay(self, *args: Any, **kwargs: Any) -> str:
            return "mine"

    own = Mine.adelay
    install()
    assert Mine.adelay is own
    assert Task.adelay is not own  # type: ignore[attr-defined]


def _make_app() -> tuple[Any, Any, Any, Any]:
    app = Celery("order", broker="memory://", backend="cache+memory://")

    class Base(Task):  # type: ignore[type-arg]
        abstract = True

    @app.task(base=Base, shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @shared_task(name=f"order.shared{next(_serial)}")
    def shared() -> None:
        pass

    return app, add, shared, Base


def _patch_like_a_tracer() -> Any:
    """Wrap what an error tracker wraps, and return the way back."""
    import celery.app.trace as trace

    send, build = Task.apply_async, trace.build_tracer
    calls: list[str] = []

    def apply_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append("apply_async")
        return send(self, *args, **kwargs)

    def build_tracer(*args: Any, **kwargs: Any) -> Any:
        calls.append("build_tracer")
        return build(*args, **kwargs)

    Task.apply_async = apply_async  # type: ignore[method-assign]
    trace.build_tracer = build_tracer

    def undo() -> None:
        Task.apply_async = send  # type: ignore[method-assign]
        trace.build_tracer = build

    return calls, undo


@pytest.mark.parametrize(
    "order",
    [
        ("install", "app", "tracer"),
        ("install", "tracer", "app"),
        ("app", "install", "tracer"),
        ("app", "tracer", "install"),
        ("tracer", "install", "app"),
        ("tracer", "app", "install"),
    ],
    ids=lambda order: "-".join(order),
)
async def test_any_order(order: tuple[str, ...]) -> None:
    made: dict[str, Any] = {}
    steps: dict[str, Any] = {
        "install": install,
        "app": _make_app,
        "tracer": _patch_like_a_tracer,
    }
    try:
        for step in order:
            made[step] = steps[step]()
        app, add, shared, base = made["app"]
        calls, _ = made["tracer"]
        for target in (add, shared, app.tasks[add.name], base):
            assert hasattr(target, "adelay")
            assert hasattr(target, "aapply_async")
        assert {"adelay", "aapply_async", "aretry"} <= set(dir(add))
        result = await add.adelay(2, 3)
        assert type(result) is app.AsyncResult
        assert calls.count("apply_async") == 1
        with app.connection_for_read() as connection:
            message = connection.SimpleQueue("celery").get(block=False)
            message.ack()
        assert message.headers["id"] == result.id
    finally:
        if "tracer" in made:
            made["tracer"][1]()
        if "app" in made:
            made["app"][0].close()


def test_new_classes_of_an_app_have_the_twins() -> None:
    app, add, *_ = _make_app()
    install()
    assert callable(app.asend_task)
    assert callable(app.AsyncResult("x").aget)
    assert callable(app.control.abroadcast)
    assert callable(app.control.inspect().aping)
    assert callable(add.s(1, 2).aapply_async)
    assert callable((add.s(1, 2) | add.s(3)).aapply_async)
    app.close()


@pytest.mark.parametrize(
    ("broker", "backend"),
    [("memory", "cache+memory://"), ("redis", "")],
    indirect=["broker"],
)
def test_inheriting_the_mixin_needs_no_install(
    broker: str, backend: str, unique: str
) -> None:
    printed = _python(
        """
        import asyncio, os
        from celery import Celery, Task
        from celery_async_bridge.mixins.celery.app.task import TaskMixin
        from celery_async_bridge.install import journal

        broker, queue = os.environ["BROKER"], os.environ["QUEUE"]
        app = Celery("t", broker=broker, backend=os.environ["BACKEND"] or broker)
        app.conf.task_default_queue = queue

        class MyTask(TaskMixin, Task):
            abstract = True

        @app.task(base=MyTask, name="t.add")
        def add(x, y):
            return x + y

        @app.task(name="t.plain")
        def plain():
            pass

        async def main():
            result = await add.adelay(2, 3)
            assert type(result).__name__ == "AsyncResult"
            return result.id

        sent = asyncio.run(main())
        with app.connection_for_read() as connection:
            simple = connection.SimpleQueue(queue)
            message = simple.get(timeout=5)
            message.ack()
            assert message.headers["id"] == sent
            connection.default_channel.queue_delete(queue)
        assert journal() is None
        assert not hasattr(Task, "adelay") and not hasattr(plain, "adelay")
        print("sent without install")
        """,
        BROKER=broker,
        BACKEND=backend,
        QUEUE=unique,
    )
    assert printed == "sent without install"


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    return str(request.getfixturevalue("redis_url"))


def test_auto_installs_on_import() -> None:
    printed = _python(
        """
        import celery_async_bridge.auto
        from celery import Task
        print(callable(Task.adelay))
        """
    )
    assert printed == "True"


def test_the_environment_switches_it_off() -> None:
    printed = _python(
        """
        import celery_async_bridge.auto
        from celery import Task
        from celery_async_bridge import explain, install
        print(install(), hasattr(Task, "adelay"))
        rows = list(explain())
        print({(row.tier, row.reason) for row in rows})
        """,
        CELERY_ASYNC_BRIDGE="0",
    )
    assert printed.splitlines() == [
        "[] False",
        "{('not installed', 'CELERY_ASYNC_BRIDGE=0 is set')}",
    ]


def test_a_child_can_install_while_the_parent_was_installing() -> None:
    printed = _python(
        """
        import os, threading
        from celery_async_bridge import install as module_function
        import sys
        module = sys.modules["celery_async_bridge.install"]
        held, done = threading.Event(), threading.Event()

        def hold():
            with module._lock:
                held.set()
                done.wait()

        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if module_function() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        done.set()
        """
    )
    assert printed == "0"


def test_what_needs_a_package_waits_until_it_is_imported() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import sys
import celery_async_bridge as bridge
early = set(bridge.install())
assert "kombu.transport.redis" not in sys.modules
assert "celery.contrib.django.task" not in sys.modules
import celery.backends.redis
import kombu.transport.redis
late = set(bridge.install())
added = late - early
assert "kombu.transport.redis.Channel.asweep_bindings" in added, added
assert "celery.backends.redis.RedisBackend.aset" in added
assert "aset" in vars(celery.backends.redis.RedisBackend)
bridge.uninstall()
assert not hasattr(kombu.transport.redis.Channel, "asweep_bindings")
assert set(bridge.install()) == late
""",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
