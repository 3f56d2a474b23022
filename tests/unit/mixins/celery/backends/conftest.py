"""The apps of the result tests."""

from __future__ import annotations

from tests.unit.mixins.celery.result.conftest import app, make_app, writer

__all__ = ("app", "make_app", "writer")
