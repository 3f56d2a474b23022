"""A broker in a file loses nothing when its process is killed; 100 times: see there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.embedded_kills import rounds

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on this platform")
def test_nothing_confirmed_is_lost_and_nothing_held_is_missing(tmp_path: Path) -> None:
    found = list(rounds(3, 7, tmp_path))
    assert sum(one.confirmed for one in found)
    for one in found:
        assert (one.lost, one.missing, one.unmarked) == (0, 0, 0), found
