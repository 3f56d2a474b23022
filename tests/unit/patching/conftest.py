"""A site-packages directory to work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.patching.packages import copy_to, is_pinned

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Copies of the installed packages."""
    if not is_pinned():
        pytest.skip("the installed amqp, kombu and celery are not pinned releases")
    return copy_to(tmp_path)
