"""Clean up after the apps of this directory."""

from __future__ import annotations

from tests.sweep import sweep


def pytest_sessionfinish() -> None:
    """Let go of the last app: pytest holds it until its test is over."""
    sweep()
