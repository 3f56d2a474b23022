"""The stage of the Celery cases: an app of its own, its tasks, and a stock peer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery, Task, states
from kombu import Exchange, Queue, pools

from .case import run_name
from .wire import BACKEND_LOOKS, LOOKS, Server, look_at, tidy

__all__ = ("IDS", "AppStage")

#: Task ids that scripts may give: fixed, so that compressed bodies can be compared.
IDS = tuple(f"00000000-0000-4000-8000-{n:012d}" for n in range(9))


class _Marking(Task):  # type: ignore[type-arg] # not generic at run time
    """A user's task class that overrides the method beneath all sends."""

    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Add a header."""
        kwargs["headers"] = {**(kwargs.get("headers") or {}), "marked": "yes"}
        return super().apply_async(*args, **kwargs)


def _add(x: int, y: int = 0) -> int:
    return x + y


def _total(values: list[int]) -> int:
    return sum(values)


def _fail(text: str = "no") -> None:
    raise ValueError(text)


def _bound(self: Any, x: int) -> int:
    return x


_TASKS: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "add": (_add, {}),
    "ignoring": (_add, {"ignore_result": True}),
    "total": (_total, {}),
    "fail": (_fail, {}),
    "bound": (_bound, {"bind": True}),
    "marking": (_add, {"base": _Marking}),
}


class AppStage:
    """A fresh app on a broker and a backend, with names that belong to this run."""

    def __init__(self, broker: Server, backend: Server | None) -> None:
        self.broker = broker
        self.backend = backend
        self.run = run_name()
        self.settle = broker.settle
        self.names: list[str] = []
        self.seen: list[Any] = []
        self.app = self._app()
        self.tasks = {
            name: self._task(fn, name=f"contract.{name}", **options)
            for name, (fn, options) in _TASKS.items()
        }
        self.app.finalize()

    def _task(self, fn: Any, **options: Any) -> Any:
        # Not shared: a shared task is kept for ever and goes to every app to come.
        return self.app.task(fn, shared=False, **options)

    def name(self, stem: str = "q") -> str:
        """Return a name of this run."""
        name = f"{self.run}.{stem}"
        self.names.append(name)
        return name

    def _app(self) -> Any:
        topic = Exchange(self.name("topic"), "topic")
        app = Celery("contract", set_as_current=False, broker=self.broker.at(self.run))
        app.conf.update(
            broker_transport_options=self.broker.options(self.run),
            broker_connection_timeout=5,
            broker_connection_retry_on_startup=False,
            task_default_queue=self.name("q"),
            task_queues=[
                Queue(
                    self.name("q"),
                    Exchange(self.name("q")),
                    routing_key=f"{self.run}.q",
                ),
                Queue(self.name("topical"), topic, routing_key="news.#"),
            ],
            task_create_missing_queues=True,
            task_publish_retry_policy={"max_retries": 1, "interval_start": 0},
            accept_content=["json", "pickle"],
            result_accept_content=["json", "pickle"],
            event_exchange=self.name("ev"),
            control_exchange=self.name("control"),
            result_exchange=self.name("results"),
            result_expires=3600,
        )
        if self.backend is not None:
            app.conf.update(result_backend=self.backend.at(self.run))
            app.conf.result_backend_transport_options = self.backend.options(self.run)
        return app

    # -- what a stock peer does; scripts call these in `aside` ------------------------

    def hear_events(self) -> None:
        """Declare a queue that keeps the events of this run."""
        with self.app.connection_for_read() as connection:
            exchange = Exchange(self.app.conf.event_exchange, "topic")
            queue = Queue(self.name("events"), exchange, routing_key="#")
            queue(connection.default_channel).declare()

    def hear_control(self) -> None:
        """Declare a queue that keeps the broadcasts of this run."""
        with self.app.connection_for_read() as connection:
            queue = self.app.control.mailbox.get_queue("node-1")
            self.names.append(queue.name)
            queue.auto_delete, queue.expires = False, None
            queue(connection.default_channel).declare()

    def store(self, task_id: str, value: Any, state: str = states.SUCCESS) -> None:
        """Store a result as a worker does."""
        if state == states.FAILURE:
            self.app.backend.mark_as_failure(task_id, value)
        else:
            self.app.backend.store_result(task_id, value, state)

    def work(self) -> None:
        """Run the messages of the default queue, with Celery's own tracer.

        What the tasks send to that queue is run, too.
        """
        from celery.app.trace import trace_task

        with self.app.connection_for_read() as connection:
            queue = self.app.amqp.queues[self.app.conf.task_default_queue]
            bound = queue(connection.default_channel)
            while (message := bound.get(no_ack=True)) is not None:
                args, kwargs, embedded = message.decode()
                request = {
                    **message.headers,
                    **embedded,
                    "args": args,
                    "kwargs": kwargs,
                    "hostname": "peer",
                    "reply_to": message.properties.get("reply_to"),
                    "correlation_id": message.properties.get("correlation_id"),
                    "delivery_info": dict(message.delivery_info),
                    "is_eager": False,
                }
                task = self.app.tasks[message.headers["task"]]
                trace_task(task, request["id"], args, kwargs, request, app=self.app)

    # -- what the comparison needs ----------------------------------------------------

    def look(self) -> Any:
        """Return what the broker and the backend hold."""
        held = look_at(LOOKS, self.broker, self.run, self.names)
        stored = None
        if self.backend is not None and self.backend.url != self.broker.url:
            stored = look_at(BACKEND_LOOKS, self.backend, self.run, ())
        return {"broker": held, "backend": stored, "seen": self.seen}

    def close(self) -> None:
        """Close the app and what Kombu keeps for it."""
        self.app.close()
        pools.reset()

    def tidy(self) -> None:
        """Remove what the run has left."""
        self.close()
        tidy(self.broker, self.run, self.names)
        if self.backend is not None:
            tidy(self.backend, self.run, ())
