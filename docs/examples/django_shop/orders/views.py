"""Async views: one sends a job, one says how it goes on."""

import json

from celery.exceptions import TimeoutError as NotInTime
from django.http import Http404, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST
from kombu.exceptions import OperationalError
from website.celery import app

from . import tasks

__all__ = ("events", "index", "start")

#: What the page offers, by the name in its URL.
JOBS = {
    "pack": ("Pack an order", "def, in a thread or on prefork", tasks.pack),
    "suppliers": ("Ask the suppliers", "async def", tasks.ask_suppliers),
    "parcel": ("Track a parcel", "async def", tasks.track_parcel),
    "card": ("Charge a stolen card", "def, fails", tasks.charge_card),
}

#: Seconds for which a page may watch a job; the browser then asks again.
PATIENCE = 300


@require_GET
async def index(request):
    """Show the jobs."""
    jobs = [
        {"name": name, "title": title, "kind": kind}
        for name, (title, kind, _) in JOBS.items()
    ]
    broker = app.conf.broker_url.partition("://")[0]
    return render(request, "orders/index.html", {"jobs": jobs, "broker": broker})


@require_POST
async def start(request, name):
    """Send a job; the loop goes on while the broker takes it."""
    if name not in JOBS:
        raise Http404(f"there is no job {name}")
    *_, task = JOBS[name]
    try:
        result = await task.adelay()
    except OperationalError:
        return JsonResponse({"error": "the broker cannot be reached"}, status=503)
    return JsonResponse({"id": result.id}, status=202)


@require_GET
async def events(request, job_id):
    """Stream the states of a job to the browser, as the backend tells of them."""
    return StreamingHttpResponse(
        _messages(app.AsyncResult(str(job_id))),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _messages(result):
    try:
        async for state, meta in result.astates(timeout=PATIENCE):
            yield f"data: {json.dumps(_told(state, meta['result']))}\n\n"
    except NotInTime:
        yield ": still nothing\n\n"


def _told(state, value):
    match state:
        case "PROGRESS":
            return {"state": state, "percent": 100 * value["done"] // value["of"]}
        case "SUCCESS":
            return {"state": state, "percent": 100, "text": value, "ready": True}
        case "FAILURE" | "REVOKED":
            text = f"{type(value).__name__}: {value}"
            return {"state": state, "text": text, "ready": True}
    return {"state": state}
