"""The entry of `INSTALLED_APPS`, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("django")

PROGRAM = """
import json
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["celery_async_bridge.contrib.django"])
django.setup()
django.setup()
from celery import Task
from celery.contrib.django.task import DjangoTask
from celery_async_bridge.mixins.celery import _route
from celery_async_bridge.worker.scopes import _scopes
from django.apps import apps
print(json.dumps({
    "label": apps.get_app_config("celery_async_bridge").name,
    "twins": hasattr(Task, "adelay") and hasattr(DjangoTask, "adelay_on_commit"),
    "scopes": len(_scopes),
    "with Django": _route._with_django,
}))
"""


def said(**more: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_installs_and_looks_after_connections() -> None:
    assert said() == {
        "label": "celery_async_bridge.contrib.django",
        "twins": True,
        "scopes": 1,
        "with Django": True,
    }


def test_it_can_be_switched_off() -> None:
    found = said(CELERY_ASYNC_BRIDGE="0")
    assert (found["twins"], found["scopes"], found["with Django"]) == (False, 0, False)
