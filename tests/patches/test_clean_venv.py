"""The patches in an environment of their own; `-m upstream` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.patches.clean_venv import QUICK, prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.upstream
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("minor", ["5.5", "5.6", "5.7"])
def test_a_patched_environment(minor: str, tmp_path: Path) -> None:
    # The contract suite runs there by `python -m tests.patches.clean_venv`.
    place = prepare(tmp_path, minor)
    for check in QUICK:
        check(place)
