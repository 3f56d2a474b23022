"""The project's views: each sends a task, in its own way."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import async_to_sync
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.integration.django import proj


async def send(request: HttpRequest) -> JsonResponse:
    """From an async view."""
    result = await proj.task_app.keep.adelay(1)
    return JsonResponse({"ids": [result.id]})


async def gather(request: HttpRequest) -> JsonResponse:
    """Ten at once."""
    sends = [proj.task_app.keep.adelay(number) for number in range(10)]
    return JsonResponse({"ids": [one.id for one in await asyncio.gather(*sends)]})


def send_from_sync(request: HttpRequest) -> JsonResponse:
    """From a sync view, through asgiref."""
    result = async_to_sync(proj.task_app.keep.adelay)(1)
    return JsonResponse({"ids": [result.id]})


def on_commit(request: HttpRequest) -> JsonResponse:
    """In the transaction of a sync view, which `?fail` undoes."""
    sent: list[Any] = []
    try:
        with transaction.atomic():
            async_to_sync(proj.task_app.keep.aapply_async_on_commit)(
                (1,), headers={"of": request.GET.get("of", "")}
            )
            if "fail" in request.GET:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    return JsonResponse({"ids": sent})


def with_the_request(request: HttpRequest) -> JsonResponse:
    """In the transaction that Django has around the request, if it has one."""
    async_to_sync(proj.task_app.keep.adelay_on_commit)(1)
    if "fail" in request.GET:
        raise ZeroDivisionError
    return JsonResponse({})


@transaction.non_atomic_requests
async def without_the_request(request: HttpRequest) -> JsonResponse:
    """Async, where Django has a transaction around each request."""
    await proj.task_app.keep.adelay_on_commit(2)
    return JsonResponse({})


async def result(request: HttpRequest, task_id: str) -> JsonResponse:
    """Wait for a task."""
    value = await proj.task_app.AsyncResult(task_id).aget(timeout=60)
    return JsonResponse({"value": value})


urlpatterns = [
    path("send/", send),
    path("gather/", gather),
    path("sync/", send_from_sync),
    path("commit/", on_commit),
    path("with/", with_the_request),
    path("without/", without_the_request),
    path("result/<task_id>/", result),
]
