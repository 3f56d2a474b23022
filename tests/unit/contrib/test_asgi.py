"""The bridge for the life of an ASGI server, whatever the application says to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from celery_async_bridge.contrib.asgi import LifespanMiddleware
from celery_async_bridge.core.loops import LoopLocal

STARTUP = {"type": "lifespan.startup"}
SHUTDOWN = {"type": "lifespan.shutdown"}
SCOPE = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}


class Server:
    """What a server does with the lifespan of its application."""

    def __init__(self, app: Any) -> None:
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.outbox: asyncio.Queue[Any] = asyncio.Queue()
        self.scope: dict[str, Any] = {**SCOPE, "state": {}}
        run = app(self.scope, self.inbox.get, self.outbox.put)
        self.run: asyncio.Task[None] = asyncio.ensure_future(run)

    async def say(self, message: dict[str, str]) -> Any:
        self.inbox.put_nowait(message)
        return await asyncio.wait_for(self.outbox.get(), 30)


class Life:
    """A context that notes what happens, given to the middleware."""

    def __init__(self, notes: list[str], fails: str = "") -> None:
        self.notes, self.fails = notes, fails

    @asynccontextmanager
    async def __call__(self, app: Any) -> AsyncIterator[None]:
        self.notes.append("open")
        if self.fails == "open":
            raise LookupError("no database")
        try:
            yield
        finally:
            self.notes.append("close")
            if self.fails == "close":
                raise LookupError("no database")


def speaking(notes: list[str], *, fails: str = "", stays: bool = True) -> Any:
    """An application that has a lifespan of its own."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in ("startup", "shutdown"):
            message = await receive()
            assert message["type"] == f"lifespan.{step}"
            notes.append(step)
            if fails == step:
                await send({"type": f"lifespan.{step}.failed", "message": "sorry"})
                return
            if fails == f"raise in {step}":
                raise ValueError(step)
            scope["state"][step] = True
            await send({"type": f"lifespan.{step}.complete"})
            if not stays:
                return

    return app


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError(f"only HTTP, not {scope['type']}")


async def mute(scope: Any, receive: Any, send: Any) -> None:
    """It returns at once, as some frameworks do."""


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    """It hears, and never answers before it ends."""
    await receive()


@pytest.mark.parametrize("app", [refusing, mute, deaf])
async def test_it_answers_for_an_application_that_does_not(app: Any) -> None:
    notes: list[str] = []
    server = Server(LifespanMiddleware(app, lifespan=Life(notes)))
    assert await server.say(STARTUP) == {"type": "lifespan.startup.complete"}
    assert notes == ["open"]
    assert await server.say(SHUTDOWN) == {"type": "lifespan.shutdown.complete"}
    assert notes == ["open", "close"]
    await server.run


@pytest.mark.parametrize("stays", [True, False])
async def test_an_application_has_its_own_inside(stays: bool) -> None:
    notes: list[str] = []
    app = LifespanMiddleware(speaking(notes, stays=stays), lifespan=Life(notes))
    server = Server(app)
    assert await server.say(STARTUP) == {"type": "lifespan.startup.complete"}
    assert await server.say(SHUTDOWN) == {"type": "lifespan.shutdown.complete"}
    own = ["startup", "shutdown"] if stays else ["startup"]
    assert notes == ["open", *own, "close"]
    assert server.scope["state"] == dict.fromkeys(own, True)
    await server.run


async def test_a_start_that_the_application_fails_is_passed_on() -> None:
    notes: list[str] = []
    app = LifespanMiddleware(speaking(notes, fails="startup"), lifespan=Life(notes))
    server = Server(app)
    answer = await server.say(STARTUP)
    assert answer == {"type": "lifespan.startup.failed", "message": "sorry"}
    await server.run
    assert notes == ["open", "startup", "close"]


async def test_a_stop_that_the_application_fails_is_passed_on() -> None:
    notes: list[str] = []
    app = LifespanMiddleware(speaking(notes, fails="shutdown"), lifespan=Life(notes))
    server = Server(app)
    await server.say(STARTUP)
    answer = await server.say(SHUTDOWN)
    assert answer == {"type": "lifespan.shutdown.failed", "message": "sorry"}
    await server.run
    assert notes[-1] == "close"


async def test_what_the_application_raises_at_its_end_is_a_failed_stop() -> None:
    notes: list[str] = []
    inner = speaking(notes, fails="raise in shutdown")
    server = Server(LifespanMiddleware(inner, lifespan=Life(notes)))
    await server.say(STARTUP)
    answer = await server.say(SHUTDOWN)
    assert answer["type"] == "lifespan.shutdown.failed"
    assert "ValueError: shutdown" in answer["message"]
    with pytest.raises(ValueError, match="shutdown"):
        await server.run
    assert notes[-1] == "close"


@pytest.mark.parametrize(
    ("fails", "step"), [("open", "startup"), ("close", "shutdown")]
)
async def test_a_context_that_fails_is_told_to_the_server(
    fails: str, step: str
) -> None:
    server = Server(LifespanMiddleware(refusing, lifespan=Life([], fails)))
    answer = await server.say(STARTUP)
    if fails == "close":
        assert answer["type"] == "lifespan.startup.complete"
        answer = await server.say(SHUTDOWN)
    assert answer["type"] == f"lifespan.{step}.failed"
    assert "no database" in answer["message"]
    with pytest.raises(LookupError):
        await server.run


async def test_a_server_that_ends_without_a_word_leaves_nothing() -> None:
    notes: list[str] = []
    server = Server(LifespanMiddleware(speaking(notes), lifespan=Life(notes)))
    await server.say(STARTUP)
    server.run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.run
    assert notes[-1] == "close"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_requests_go_through_untouched() -> None:
    seen = []

    async def app(*given: Any) -> None:
        seen.append(given)

    given = ({"type": "http"}, object(), object())
    await LifespanMiddleware(app)(*given)  # type: ignore[arg-type]
    assert seen == [given]


async def test_by_default_it_closes_what_the_bridge_holds() -> None:
    closed: list[str] = []
    close: Callable[[str], None] = closed.append
    held = LoopLocal(lambda: "a connection", close)
    server = Server(LifespanMiddleware(refusing))
    await server.say(STARTUP)
    held.get()
    await server.say(SHUTDOWN)
    await server.run
    assert closed == ["a connection"]
