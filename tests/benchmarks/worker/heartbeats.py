"""Heartbeats of a `celery worker -P asyncio` whose tasks leave no time; 1 if they stop.

    python -m tests.benchmarks.worker.heartbeats [--seconds 20] AMQP_URL BACKEND

The connection has a heartbeat of two seconds, so that RabbitMQ closes it when it hears
nothing for about four; the worker sends an event every two.
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.worker.kills import delete_queue
from tests.interop.processes import environment, forget, stock_worker
from tests.interop.worker.pool_app import make_app

MODULE = "tests.interop.worker.pool_app"
BUSY = 50


def beats(app: Any, seconds: float) -> int:
    """Count the heartbeat events of a worker while its tasks burn time."""
    found = 0

    def note(_: Any) -> None:
        nonlocal found
        found += 1

    with app.connection_for_read() as given:
        handlers = {"worker-heartbeat": note}
        receiver = app.events.Receiver(given, handlers=handlers)
        with receiver.consumer_context() as (connection, _, _):
            while not found:
                connection.drain_events(timeout=60)
            found, end = 0, time.monotonic() + seconds
            for _ in range(BUSY):
                app.tasks["pool.burn"].delay(seconds)
            while time.monotonic() < end:
                with suppress(TimeoutError):
                    connection.drain_events(timeout=1)
    return found


def main() -> int:
    """Run it, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("broker")
    parser.add_argument("backend")
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    prefix = f"beats-{secrets.token_hex(4)}"
    app = make_app(given.broker, given.backend, prefix)
    env = environment(given.broker, given.backend, prefix)
    env["POOL_CONF"] = json.dumps({"broker_heartbeat": 2})
    with TemporaryDirectory() as home:
        log = Path(home) / "log"
        options = ("-c", str(BUSY), "-E", "--heartbeat-interval", "2")
        try:
            with stock_worker(app, "asyncio", env, log, module=MODULE, options=options):
                found = beats(app, given.seconds)
            lost = log.read_text().count("Connection to broker lost")
        finally:
            delete_queue(app)
            app.close()
            forget(given.backend, prefix)
    expected = int(given.seconds // 2)
    print(f"{found} of about {expected} heartbeats, {lost} connections lost")
    return int(bool(lost) or found < expected // 2)


if __name__ == "__main__":
    raise SystemExit(main())
