"""A Celery app that knows nothing of the bridge: workers and clients run it."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu import Exchange, Queue


def make_app(broker: str, backend: str, prefix: str) -> Any:
    """An app whose names on the servers begin with `prefix`."""
    app = Celery("stock", broker=broker, backend=backend, set_as_current=False)
    name = f"{prefix}.tasks"
    app.conf.update(
        task_default_queue=name,
        task_queues=[Queue(name, Exchange(name), routing_key=name)],
        control_exchange=f"{prefix}.control",
        event_exchange=f"{prefix}.events",
        result_exchange=f"{prefix}.results",
        result_expires=60,
        task_track_started=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
    )
    if broker.startswith("redis"):
        app.conf.broker_transport_options = {"global_keyprefix": f"{prefix}:"}
        app.conf.result_backend_transport_options = {"global_keyprefix": f"{prefix}:"}

    @app.task(shared=False, name="stock.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(shared=False, name="stock.total")
    def total(values: list[int]) -> int:
        return sum(values)

    @app.task(shared=False, name="stock.fail")
    def fail(text: str) -> None:
        raise ValueError(text)

    @app.task(shared=False, name="stock.retrying", bind=True, max_retries=2)
    def retrying(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    @app.task(shared=False, name="stock.whoami", bind=True)
    def whoami(self: Any) -> dict[str, Any]:
        request = self.request
        return {
            "id": request.id,
            "root": request.root_id,
            "parent": request.parent_id,
            "headers": (request.headers or {}).get("x"),
            "priority": request.delivery_info.get("priority"),
        }

    app.finalize()
    return app


if "STOCK_BROKER" in os.environ:
    app = make_app(
        os.environ["STOCK_BROKER"],
        os.environ["STOCK_BACKEND"],
        os.environ["STOCK_PREFIX"],
    )
