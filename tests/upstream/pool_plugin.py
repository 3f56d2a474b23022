"""Pytest plug-in that gives the worker of upstream's integration tests another pool.

Each test runs in a process and with a worker of its own, on an empty broker: one that
leaves a thread of the worker busy for good would otherwise fail all that follow. Those
of `test_inspect.py`, which know the worker by the number of their process, share one.

`BRIDGE_UPSTREAM_POOL` names the pool. With `BRIDGE_UPSTREAM_BODIES=async` the tasks of
the tests are made coroutine functions first: each gives way to others when it begins,
awaits its pauses and sends, and the tasks that it calls like functions. Self-contained,
as `bridge_plugin` is.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import os
import signal
import socket
import sys
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from celery.contrib.testing import worker

__all__ = ()

_TASKS = "t.integration.tasks"
#: As many as upstream's worker of these tests has processes, and a few that wait.
_CONCURRENCY = 8
#: Upstream's own marks have its tests run five times more.
_TRIES = 2
#: For each of them; what Celery's threads pool cannot end hangs for as long.
_SECONDS = 45.0
_TOGETHER = "test_inspect.py"


def _is_task(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        "shared_task" in ast.unparse(decorator) for decorator in node.decorator_list
    )


class _Awaited(ast.NodeTransformer):
    """Awaits the pauses and sends of a body, and the tasks that it calls."""

    def __init__(self, tasks: set[str]) -> None:
        self.tasks = tasks

    def visit_Call(self, node: ast.Call) -> Any:
        """Await what has become a coroutine function."""
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "sleep":
            node.func = ast.Name("_asleep", ast.Load())
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "apply_async":
            node.func.attr = "aapply_async"
        elif name not in self.tasks:
            return node
        return ast.Await(node)


class _Async(ast.NodeTransformer):
    """Makes the tasks of a module coroutine functions."""

    def __init__(self, tasks: set[str]) -> None:
        self.tasks = tasks

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        """Turn a task over."""
        if not _is_task(node):
            return node
        awaited = _Awaited(self.tasks)
        body = [awaited.visit(part) for part in node.body]
        fields = dict(ast.iter_fields(node))
        first = ast.parse("async def f():\n    await _asleep(0)").body[0]
        assert isinstance(first, ast.AsyncFunctionDef)
        return ast.AsyncFunctionDef(**{**fields, "body": [*first.body, *body]})


def _import_async() -> None:
    spec = importlib.util.find_spec(_TASKS)
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as source:
        tree = ast.parse(source.read())
    tasks = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and _is_task(node)
    }
    head = ast.parse("from asyncio import sleep as _asleep").body
    turned = _Async(tasks).visit(tree)
    turned.body = [*head, *turned.body]
    module = importlib.util.module_from_spec(spec)
    sys.modules[_TASKS] = module
    exec(compile(ast.fix_missing_locations(turned), spec.origin, "exec"), vars(module))
    sys.modules["t.integration"].tasks = module  # type: ignore[attr-defined]
    print(f"{len(tasks)} tasks are coroutine functions")


def _left_out() -> set[str]:
    found = set()
    if os.environ["BRIDGE_UPSTREAM_POOL"] == "threads":
        # It registers its task anew under the running worker. Celery's threads pool has
        # no tracer for it then: the task never ends, and all later tests wait for it.
        found.add("test_class_based_task_retried")
    if os.environ.get("BRIDGE_UPSTREAM_BODIES") == "async":
        # It calls a task like a function, which has become one that must be awaited.
        found.add("test_simple_call")
    return found


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what says nothing about a worker, or ends it."""
    wild = [item for item in items if item.name in _left_out()]
    config.hook.pytest_deselected(items=wild)
    kept = [item for item in items if item not in wild]
    # Those that share a worker last: from then on this process has one.
    items[:] = sorted(kept, key=lambda item: item.path.name == _TOGETHER)


def pytest_configure(config: Any) -> None:
    """Turn the tasks over, and have workers start with our pool."""
    # What draws excerpts of the sources parses them, which two threads must not do.
    config.option.tbstyle = "native"
    start: Any = worker.start_worker

    @functools.wraps(start)
    def start_worker(app: Any, **options: Any) -> Any:
        pool = os.environ["BRIDGE_UPSTREAM_POOL"]
        return start(app, **{**options, "pool": pool, "concurrency": _CONCURRENCY})

    vars(worker)["start_worker"] = start_worker


def _empty_broker() -> None:
    with socket.create_connection(("127.0.0.1", int(os.environ["REDIS_PORT"]))) as link:
        link.sendall(b"FLUSHALL\r\n")
        link.recv(64)


def _run_in_child(item: Any) -> list[Any]:
    """Run a test in a fork; return its reports, none if the child has died."""
    hook, config = item.config.hook, item.config
    mine, its = os.pipe()
    # The alarm of pytest-timeout, which the child takes over.
    signal.setitimer(signal.ITIMER_REAL, 0)
    pid = os.fork()
    if not pid:
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)
        # Nothing is torn down: a worker does not end while a thread of it is busy.
        reports = runtestprotocol(item, log=False, nextitem=item)
        signal.setitimer(signal.ITIMER_REAL, 0)
        plain = [
            hook.pytest_report_to_serializable(config=config, report=report)
            for report in reports
        ]
        with open(its, "w") as out:
            json.dump(plain, out, default=str)
        os._exit(0)
    os.close(its)
    with open(mine) as found:
        text = found.read()
    os.waitpid(pid, 0)
    return [
        hook.pytest_report_from_serializable(config=config, data=data)
        for data in json.loads(text or "[]")
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: Any) -> bool | None:
    """Run a test in a process of its own, on an empty broker; once more if it fails."""
    if item.path.name == _TOGETHER:
        return None
    hook, where = item.ihook, {"nodeid": item.nodeid, "location": item.location}
    hook.pytest_runtest_logstart(**where)
    for _ in range(_TRIES):
        _empty_broker()
        reports = _run_in_child(item)
        if reports and not any(report.failed for report in reports):
            break
    if not reports:
        reports = [
            pytest.TestReport(
                item.nodeid,
                item.location,
                keywords={},
                outcome="failed",
                longrepr="the test ended its process",
                when="call",
            )
        ]
    for report in reports:
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(**where)
    return True


# Now: the conftest files import the module before `pytest_configure`.
if os.environ.get("BRIDGE_UPSTREAM_BODIES") == "async":
    _import_async()
