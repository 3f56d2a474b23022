"""A real Celery worker inside the process of its caller."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from celery.exceptions import WorkerShutdown, WorkerTerminate
from celery.utils.imports import symbol_by_name
from celery.utils.log import get_logger
from celery.worker import WorkController, state

from ..core.conversation import Conversation
from ..errors import BridgeError, BrokerTimeout
from ..mixins.celery._route import broker_endpoint
from ..mixins.celery._stacks import isolated
from .pool import TaskPool

if TYPE_CHECKING:
    from ..core.turn import Turn

__all__ = ("embedded_worker",)

_logger = get_logger("celery.worker")
_serial = itertools.count(1)

#: Seconds that a worker gets to close its connections, when its tasks have ended.
_PATIENCE = 5.0


class _Shift(Conversation):
    """The conversation of a consumer thread: it ends as if the worker was shut down.

    Celery's own way is a flag of the whole process, which would end every worker in it.
    """

    #: What wakes the thread out of a native wait; the driver leaves it here.
    bell: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.consumer: Any = None
        self._over = False

    def check(self) -> None:
        """Raise `WorkerShutdown`, once; else do what other threads have asked for."""
        if self._over:
            return
        if self.left:
            # Only once: what closes the worker down may have to wait, too.
            self._over = True
            raise WorkerShutdown(0)
        if self.consumer is not None:
            self.consumer.perform_pending_operations()

    def leave(self) -> bool:
        """End the shift (from any thread)."""
        landed = super().leave()
        self.nudge()
        return landed

    def nudge(self) -> None:
        """Have the thread look around."""
        bell = self.bell
        if bell is not None:
            bell.rung = True
            bell.sound()

    def sliced(
        self,
        wait: Callable[[float], Any],
        timeout: float | None,
        nothing: type[BaseException],
        turn: Turn | None = None,
    ) -> Any:
        """Wait in one piece where the wait rings for us, too."""
        native = getattr(wait, "rings", False)
        if self._over or native:
            return wait(timeout)  # type: ignore[arg-type]
        return super().sliced(wait, timeout, nothing, turn)


class _ConsumerMixin:
    """What acks of other threads do in an embedded worker's consumer."""

    shift: _Shift
    _pending_operations: Any
    connection: Any

    def call_soon(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = super().call_soon(p, *args, **kwargs)  # type: ignore[misc]
        self.shift.nudge()
        return outcome

    def call_soon_ack(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        if self.connection.transport.driver_type == "memory":
            return super().call_soon_ack(p, *args, **kwargs)  # type: ignore[misc]
        # Upstream would write to the socket from the thread of the task, or of the
        # loop, while the consumer's thread may be writing to it.
        return self.call_soon(p, *args, **kwargs)


class _Controller(WorkController):
    """A worker that leaves the process around it alone."""

    on_ready: Callable[[Any], None]

    def on_consumer_ready(self, consumer: Any) -> None:
        """Tell the caller."""
        from celery.signals import worker_ready

        worker_ready.send(sender=consumer)
        self.on_ready(consumer)

    def _shutdown(self, warm: bool = True) -> None:
        # Without upstream's default timeout for all new sockets of the process.
        if self.blueprint is not None:
            self.blueprint.stop(self, terminate=not warm)
            self.blueprint.join()


class _Embedded:
    """The thread that runs the worker, seen from the loop."""

    def __init__(self, app: Any, concurrency: int, grace: float | None) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.shift = _Shift()
        self.ready = self.loop.create_future()
        self.ended = self.loop.create_future()
        self.error: BaseException | None = None
        self._concurrency = concurrency
        self._patience = None if grace is None else grace + _PATIENCE
        self._pool = type(
            "EmbeddedPool", (TaskPool,), {"host": self.loop, "grace": grace}
        )
        name = f"celery-async-worker-{next(_serial)}"
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)

    def _work(self) -> None:
        try:
            with (
                self.shift.entered(),
                isolated(fresh=True, app=self.app, join_blocks=False, host=self.loop),
            ):
                self._serve()
        except BaseException as exc:
            self.error = exc
        finally:
            self._settle(self.ended)

    def _serve(self) -> None:
        self.app.finalize()
        base = symbol_by_name(self.app.conf.worker_consumer)
        worker: Any = _Controller(
            app=self.app,
            hostname=f"{self.thread.name}@{_node()}",
            concurrency=self._concurrency,
            pool=self._pool,
            consumer_cls=type(
                "EmbeddedConsumer", (_ConsumerMixin, base), {"shift": self.shift}
            ),
            use_eventloop=False,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )
        worker.on_ready = self._on_ready
        try:
            worker.blueprint.start(worker)
        except (WorkerShutdown, WorkerTerminate):
            pass
        finally:
            worker.stop()
            _forget(worker.hostname)

    def _on_ready(self, consumer: Any) -> None:
        if consumer.connection.transport.driver_type == "memory":
            # What was fetched and not executed goes back to its queue, as it would
            # from a broker that sees a connection end.
            consumer.task_consumer.channel.do_restore = True
        self.shift.consumer = consumer
        self._settle(self.ready)

    def _settle(self, future: asyncio.Future[None]) -> None:
        def settle() -> None:
            if not future.done():
                future.set_result(None)

        self.loop.call_soon_threadsafe(settle)

    async def start(self, timeout: float) -> None:
        """Return when the worker consumes."""
        self.thread.start()
        await asyncio.wait(
            {self.ready, self.ended},
            timeout=timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if self.ready.done():
            return
        if not self.ended.done():
            label = broker_endpoint(self.app).label
            raise BrokerTimeout(
                f"the embedded worker is not connected to {label} within {timeout:g} s",
                timeout,
                False,
            )
        raise self.error or BridgeError("the embedded worker ended while it started")

    async def stop(self) -> None:
        """Return when the worker's thread has ended."""
        self.shift.leave()
        await asyncio.wait({self.ended}, timeout=self._patience)
        if self.ended.done():
            # It has said so with its last words; a join would hold the loop.
            while self.thread.is_alive():  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.001)
        else:
            _logger.error("%s does not end; is its broker stuck?", self.thread.name)


def _forget(hostname: str) -> None:
    # What had no end in its grace. The lists are the process's, which goes on: every
    # later worker in it would report them as its own.
    for request in tuple(state.requests.values()):
        if request.hostname == hostname:
            state.task_ready(request)


def _node() -> str:
    from celery.utils.nodenames import gethostname

    return str(gethostname())


@asynccontextmanager
async def embedded_worker(
    app: Any,
    concurrency: int = 100,
    *,
    grace: float | None = 5.0,
    start_timeout: float = 10.0,
) -> AsyncIterator[Any]:
    """Run a Celery worker in this process while the block runs.

    Async tasks run on the loop of the caller, sync tasks in threads. The worker
    consumes before the block is entered; leaving it ends the worker, after the tasks
    that it has taken.

    Arguments:
        app: the Celery app.
        concurrency: how many tasks run at once.
        grace: seconds that running tasks get when the block is left; then async ones
            are cancelled, and sync ones go on unheeded. None: for ever.
        start_timeout: seconds for the connection to the broker.

    Raises:
        OperationalError: (`BrokerTimeout`) the broker cannot be reached.
        BridgeError: the bridge is switched off by `CELERY_ASYNC_BRIDGE=0`.
    """
    from ..install import install, journal

    install()
    if journal() is None:
        raise BridgeError("embedded_worker() needs the bridge; it is switched off")
    embedded = _Embedded(app, concurrency, grace)
    try:
        await embedded.start(start_timeout)
        yield embedded
    finally:
        await embedded.stop()
    if embedded.error is not None:
        raise embedded.error
