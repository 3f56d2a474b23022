"""Django in this process, with the bridge."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from celery import _state

from celery_async_bridge import install, uninstall
from celery_async_bridge.install import journal
from tests.integration.django import site
from tests.sweep import sweep


@pytest.fixture(scope="module", autouse=True)
def _bridge() -> Iterator[None]:
    was_installed = journal() is not None
    install()
    yield
    if not was_installed:
        uninstall()
    sweep()


@pytest.fixture(scope="module", autouse=True)
def _site(_bridge: None) -> Iterator[None]:
    if find_spec("django") is None:
        pytest.skip("django is not installed")
    state: object = _state
    finalizers: set[object] = vars(state)["_on_app_finalizers"]
    before = set(finalizers)
    site.start()
    from celery_async_bridge.contrib.django.connections import leave_alone, look_after

    look_after()
    if find_spec("django.tasks") is not None:
        from celery_async_bridge.contrib.django.runner import register

        register()
    yield
    leave_alone()
    site.close_all()
    # Later apps of the process get no tasks from here.
    finalizers.intersection_update(before)
