"""Let go of what upstream leaves to the garbage collector.

Celery closes neither the clients of its Redis backend nor those of threads that have
ended. Tests that use them carry `ignore_unclosed` and end with `sweep()`, so that no
other test is blamed.
"""

from __future__ import annotations

import gc
import warnings

import pytest

ignore_unclosed = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def sweep() -> None:
    """Collect garbage without a word about sockets in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
