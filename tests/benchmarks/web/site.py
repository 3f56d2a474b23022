"""A Django project whose views send, and that knows how late its loop was.

It has the middleware of a new project. The environment says where the broker is, and
whether the bridge is installed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import django
from asgiref.sync import sync_to_async
from celery import Celery
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from .scenario import DISTANCE

__all__ = ("application", "urlpatterns")

_DJANGO = "django.contrib"
_MIDDLEWARE = (
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
#: Seconds between two looks at the clock.
_TICK = 0.001

settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[
        f"{_DJANGO}.{name}"
        for name in ("auth", "contenttypes", "sessions", "messages", "staticfiles")
    ],
    MIDDLEWARE=_MIDDLEWARE,
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a benchmark",
    STATIC_URL="static/",
    USE_TZ=True,
)
django.setup()

app: Any = Celery("web", broker=os.environ["BENCH_BROKER"])
app.conf.task_default_queue = "bench"

if os.environ.get("BENCH_BRIDGE"):
    import celery_async_bridge

    celery_async_bridge.install()


@app.task(name="add")  # type: ignore[untyped-decorator,unused-ignore]
def add(x: int, y: int) -> int:
    """Be sent; nobody executes it."""
    return x + y


class _Clock:
    """How late the loop was at most, since it was asked the last time."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._task: asyncio.Task[None] | None = None

    def read(self) -> float:
        """Return the worst, and begin anew."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        worst, self._worst = self._worst, 0.0
        return worst

    async def _run(self) -> None:
        now = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK)
            before, now = now, time.perf_counter()
            self._worst = max(self._worst, now - before - _TICK)


_clock = _Clock()


async def _stall(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"stall": _clock.read(), "cpu": time.process_time()})


async def _tier(request: HttpRequest) -> HttpResponse:
    from celery_async_bridge import explain

    tiers = {row.tier for row in explain(app) if row.method == "adelay"}
    return JsonResponse({"tier": "+".join(tiers)})


async def _nothing() -> None: ...


async def _pause() -> None:
    await asyncio.sleep(DISTANCE)


async def _delay() -> None:
    add.delay(2, 3)


def _view(send: Callable[[], Awaitable[Any]]) -> Any:
    async def view(request: HttpRequest, count: int) -> HttpResponse:
        if count == 1:
            await send()
        else:
            await asyncio.gather(*(send() for _ in range(count)))
        return HttpResponse("sent")

    return view


_SENDS: dict[str, Callable[[], Awaitable[Any]]] = {
    "nothing": _nothing,
    "pause": _pause,
    "adelay": lambda: add.adelay(2, 3),
    "delay": _delay,
    "thread": lambda: sync_to_async(add.delay)(2, 3),
    "threads": lambda: sync_to_async(add.delay, thread_sensitive=False)(2, 3),
}

urlpatterns = [
    path("stall", _stall),
    path("tier", _tier),
    *(path(f"{name}/<int:count>", _view(send)) for name, send in _SENDS.items()),
]

application = get_asgi_application()
