"""A small version of `tests.benchmarks.consuming.kills`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

__all__ = ()


def test_killed_consumers_lose_nothing(redis_url: str) -> None:
    module = "tests.benchmarks.consuming.kills"
    ended = subprocess.run(
        [sys.executable, "-m", module, redis_url, "--kills", "6", "--count", "300"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads(ended.stdout)["lost"] == 0
