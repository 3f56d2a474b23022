"""Two stock workers of one app, and what many ask them at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kombu import pools

from celery_async_bridge.testing.tripwire import tripwire
from tests.interop.async_api import api_tasks
from tests.interop.async_api.test_control import MOVING, QUESTIONS
from tests.interop.processes import environment, forget, stock_worker

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    import pytest

    from tests.interop.replies import Replies

#: Only with packages that a worker need not have.
SAMPLES: dict[str, tuple[Any, ...]] = {"memsample": (), "memdump": (), "objgraph": ()}


@dataclass
class Pair:
    """An app, and two workers that run it."""

    app: Any
    env: dict[str, str]
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def name(self, node: str) -> str:
        """The full name of a worker."""
        return f"{self.app.conf.task_default_queue}@{node}"

    def start(self, node: str, log: Path) -> Any:
        """Have one process more that also runs the tasks, until a block ends."""
        module = api_tasks.__name__
        return stock_worker(
            self.app, "prefork", self.env, log, module=module, node=node
        )

    @property
    def nodes(self) -> list[str]:
        """The names of the workers."""
        return sorted(self.workers)

    def signal(self, number: int) -> None:
        """Send a signal to both workers."""
        for process in self.workers.values():
            os.kill(process.pid, number)


@contextmanager
def two_workers(
    broker: str, backend: str, paths: pytest.TempPathFactory, prefix: str
) -> Iterator[Pair]:
    """Start two workers of one process each, until the block ends."""
    prefix = f"{prefix}-{paths.getbasetemp().name}"
    env = environment(broker, backend, prefix)
    logs: Path = paths.mktemp("workers")
    try:
        with tripwire():
            app = api_tasks.make_api_app(broker, backend, prefix)
            pair = Pair(app, env)
            with ExitStack() as stack:
                for node in ("one", "two"):
                    process = stack.enter_context(pair.start(node, logs / node))
                    pair.workers[pair.name(node)] = process
                yield pair
            app.close()
            pools.reset()
    finally:
        forget(backend, prefix)


async def ask_both(pair: Pair, replies: Replies, count: int) -> None:
    """Ask so many questions at once; each gets what a sync call gets, and no more."""
    app, nodes = pair.app, pair.nodes
    questions = {**QUESTIONS, **SAMPLES}
    names = [*questions, *questions, *questions, *questions][:count]
    answers = await asyncio.gather(
        *(
            getattr(app.control.inspect(nodes, timeout=60), f"a{name}")(
                *questions[name]
            )
            for name in names
        )
    )
    assert len(set(replies.queues)) == len(replies.queues) == count
    await replies.gone()

    def stock(name: str) -> Any:
        return getattr(app.control.inspect(nodes, timeout=60), name)(*questions[name])

    oracles = {name: await asyncio.to_thread(stock, name) for name in questions}
    for name, reply in zip(names, answers, strict=True):
        assert sorted(reply) == nodes, name
        for node in nodes:
            theirs = oracles[name][node]
            if name in SAMPLES:
                assert type(reply[node]) is type(theirs), name
            elif name in MOVING:
                assert reply[node].keys() == theirs.keys(), name
            else:
                assert reply[node] == theirs, name
