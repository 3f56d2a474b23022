"""The stock app with more tasks: what a worker runs for the tests of the async API."""

# Type checkers do not know the decorator of an untyped app.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from celery import canvas
from celery.exceptions import Reject

from tests.interop.stock_app import make_app

#: Without their types, which take a signature for one of a known task.
chain: Any = canvas.chain
group: Any = canvas.group


class ApiError(Exception):
    """An error with more than a text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


def tasks_of(app: Any) -> SimpleNamespace:
    """The tasks of an app of `make_api_app`, by the last part of their names."""
    own = (name for name in app.tasks if name.startswith(("stock.", "api.")))
    return SimpleNamespace(**{n.rpartition(".")[2]: app.tasks[n] for n in own})


def box(app: Any, key: str) -> str:
    """The list in Redis in which tasks record something."""
    return f"{app.conf.task_default_queue}:box:{key}"


def make_api_app(broker: str, backend: str, prefix: str) -> Any:
    """The app of worker and client; its names on the server begin with `prefix`."""
    app = make_app(broker, backend, prefix)
    app.conf.update(result_extended=True, worker_pool_restarts=True)

    def task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
        def make(fun: Callable[..., Any]) -> Any:
            return app.task(shared=False, name=f"api.{fun.__name__}", **options)(fun)

        return make

    def record(*values: Any, key: str) -> Any:
        app.backend.client.rpush(box(app, key), json.dumps(values))
        return values[0] if values else None

    add = app.tasks["stock.add"]
    fail = app.tasks["stock.fail"]
    _plain(task, record)
    _placed(task, add, fail)
    _sending(task, add)
    _ending(task)
    return app


def _plain(task: Any, record: Callable[..., Any]) -> None:
    task()(record)

    @task()
    def identity(x: Any) -> Any:
        return x

    @task()
    def plus(x: int, y: int, z: int = 0) -> int:
        return x + y + z

    @task()
    def nap(seconds: float, value: Any = None) -> Any:
        time.sleep(seconds)
        return value

    @task()
    def big(size: int) -> str:
        return "x" * size

    @task(ignore_result=True)
    def ignored(*, key: str) -> int:
        record("ran", key=key)
        return 1

    @task()
    def errback_old(request_id: str, *, key: str) -> None:
        record("old", request_id, key=key)

    @task()
    def errback_new(request: Any, exc: Any, traceback: Any, *, key: str) -> None:
        record("new", request.id, repr(exc), key=key)

    @task(bind=True)
    def family(self: Any, *_: Any) -> dict[str, Any]:
        request = self.request
        return {name: getattr(request, f"{name}_id") for name in ("root", "parent")}

    @task(bind=True)
    def stamps(self: Any) -> dict[str, Any]:
        return dict(self.request.stamps or {})


def _placed(task: Any, add: Any, fail: Any) -> None:
    @task(bind=True)
    def replaced(self: Any, x: int, y: int) -> Any:
        raise self.replace(add.s(x, y))

    @task(bind=True)
    def replaced_by_chain(self: Any, x: int, y: int) -> Any:
        raise self.replace(chain(add.s(x, y), add.s(100)))

    @task(bind=True)
    def replaced_by_group(self: Any, values: Iterable[int], y: int) -> Any:
        raise self.replace(group(*[add.s(x, y) for x in values]))

    @task(bind=True)
    def replaced_by_nothing(self: Any) -> Any:
        raise self.replace(chain())

    @task(bind=True)
    def replaced_by_failure(self: Any, text: str) -> Any:
        raise self.replace(fail.si(text))

    @task(bind=True)
    def twice_replaced(self: Any, x: int) -> Any:
        raise self.replace(self.app.tasks["api.replaced"].s(x, x))


def _sending(task: Any, add: Any) -> None:
    @task(bind=True)
    def joins_chord(self: Any, values: Iterable[int], y: int) -> int:
        for x in values:
            self.add_to_chord(add.s(x, y))
        return 0

    @task()
    def sends(count: int, depth: int = 0) -> int:
        for n in range(count):
            if depth:
                sends.delay(count, depth - 1)
            else:
                add.delay(n, 10)
        return depth

    @task()
    def waits(x: int) -> Any:
        return add.delay(x, x).get(timeout=5)

    @task(bind=True)
    def progress(self: Any, steps: int) -> str:
        for step in range(steps):
            self.update_state(state="PROGRESS", meta={"step": step})
            time.sleep(0.15)
        return "done"


def _ending(task: Any) -> None:
    @task()
    def fail_api(code: int, text: str) -> None:
        raise ApiError(code, text)

    @task()
    def rejects() -> None:
        raise Reject("not mine", requeue=False)

    @task(bind=True, max_retries=1)
    def gives_up(self: Any, text: str) -> None:
        raise self.retry(exc=ValueError(text), countdown=0)

    @task(bind=True, max_retries=1)
    def retried_with(self: Any, x: int) -> list[Any]:
        if not self.request.retries:
            raise self.retry(args=(x + 1,), countdown=0.3)
        return [x, self.request.retries, (self.request.headers or {}).get("x")]

    @task(autoretry_for=(KeyError,), max_retries=2, retry_backoff=False, bind=True)
    def retries_by_itself(self: Any) -> int:
        self.default_retry_delay = 0
        if self.request.retries < 2:
            raise KeyError("again")
        return int(self.request.retries)


if "STOCK_BROKER" in os.environ:
    app = make_api_app(
        os.environ["STOCK_BROKER"],
        os.environ["STOCK_BACKEND"],
        os.environ["STOCK_PREFIX"],
    )
