"""The tests below here run with the bridge and its memory driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit._memory import native_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def _native() -> Iterator[None]:
    with native_memory():
        yield
