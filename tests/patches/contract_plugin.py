"""Run the contract suite on a patched upstream: nothing may be grafted.

Without `install()` there are no seams. Then no driver is in use, the transport
`embedded://` has no name, and coroutine functions as callbacks are not awaited: that is
no method that upstream lacks, but another behaviour of one that it has. All else must
hold, on the thread tier.
"""

from __future__ import annotations

from typing import Any

import pytest

from celery_async_bridge.install import enabled, journal

#: The names of brokers and backends behind `embedded://`.
_EMBEDDED = frozenset({"embedded", "durable"})
#: Cases with callbacks that are coroutine functions.
_ASYNC_CALLBACKS = frozenset(
    {
        "consume-callbacks",
        "consume-callbacks-limited",
        "consume-callback-raises",
        "consume-decode-error",
    }
)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave what needs `install()`; have the rest run in threads."""
    if enabled():
        return
    classes = {item.cls.__name__ for item in items if isinstance(item, pytest.Function)}
    chosen: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        (chosen if _applies(item, classes) else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = chosen


def _applies(item: Any, classes: set[str]) -> bool:
    cls, case = item.cls, item.callspec.id if hasattr(item, "callspec") else ""
    if _EMBEDDED & {cls.broker_name, cls.backend_name}:
        return False
    # Its twin with `threads` is there as well.
    if f"{cls.__name__}Threads" in classes:
        return False
    # The tripwire guards native calls.
    cls.threads = True
    return case not in _ASYNC_CALLBACKS


@pytest.fixture(autouse=True, scope="session")
def _nothing_grafted() -> Any:
    yield
    current = journal()
    assert current is None or not current.grafts
