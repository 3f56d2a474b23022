"""Send jobs from FastAPI, and stream their progress.

uvicorn api:api
"""

import json
import os
import time
from contextlib import asynccontextmanager
from uuid import UUID

from celery import Celery
from celery.exceptions import TimeoutError as NotInTime
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

import celery_async_bridge

__all__ = ("api", "app", "pack")

celery_async_bridge.install()

BROKER = os.environ.get("SHOP_BROKER", "embedded://api")

app = Celery("api", broker=BROKER, backend=os.environ.get("SHOP_BACKEND", BROKER))


@app.task(bind=True)
def pack(self, boxes):
    """Pack boxes one by one, and say after each how many there are."""
    if boxes > 20:
        raise ValueError(f"{boxes} boxes do not fit into the van")
    for packed in range(1, boxes + 1):
        time.sleep(0.1)
        self.update_state(state="PROGRESS", meta={"packed": packed, "of": boxes})
    return boxes


@asynccontextmanager
async def lifespan(_):
    """Close what the bridge holds; run a worker where the broker is in the process."""
    async with celery_async_bridge.lifespan():
        if not BROKER.startswith("embedded:"):
            yield
            return
        async with celery_async_bridge.embedded_worker(app):
            yield


api = FastAPI(lifespan=lifespan)


@api.post("/orders", status_code=202)
async def order(boxes: int):
    """Send the job, and go on."""
    result = await pack.adelay(boxes)
    return {"id": result.id}


@api.get("/orders/{job_id}")
async def packed(job_id: UUID, timeout: float = 10):
    """Wait for the job as long as the caller wants to."""
    result = app.AsyncResult(str(job_id))
    try:
        return {"packed": await result.aget(timeout=timeout)}
    except NotInTime:
        return {"state": await result.astate()}
    except ValueError as exc:
        return {"error": str(exc)}


@api.get("/orders/{job_id}/events")
async def events(job_id: UUID):
    """Stream what the job has to say."""

    async def messages():
        async for state, meta in app.AsyncResult(str(job_id)).astates():
            told = {"state": state, "result": meta["result"]}
            yield f"data: {json.dumps(told, default=str)}\n\n"

    return StreamingResponse(messages(), media_type="text/event-stream")
