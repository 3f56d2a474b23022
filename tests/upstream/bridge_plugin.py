"""Pytest plug-in for a run of upstream's own suite.

`BRIDGE_UPSTREAM_MODE` says what happens before anything of the suite is
imported: nothing (`plain`), the bridge is installed (`bridge`), or the modules
that installing it imported are imported (`imports`). What failed is written
down. Self-contained: it runs in an environment that has neither this test tree
nor, but for one mode, the bridge.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ()

_failed: set[str] = set()
_passed: set[str] = set()
_mode = os.environ["BRIDGE_UPSTREAM_MODE"]
_modules = Path(os.environ["BRIDGE_UPSTREAM_MODULES"])
_grafted = -1

if _mode == "bridge":
    import celery_async_bridge

    _grafted = len(celery_async_bridge.install())
    _modules.write_text(
        json.dumps([n for n in sys.modules if n.startswith(("kombu", "celery."))])
    )
elif _mode == "imports":
    for _name in json.loads(_modules.read_text()):
        importlib.import_module(_name)


def pytest_runtest_logreport(report: Any) -> None:
    """Note a test that failed in any of its phases."""
    if report.failed:
        _failed.add(report.nodeid)
    elif report.passed and report.when == "call":
        _passed.add(report.nodeid)


def pytest_collectreport(report: Any) -> None:
    """Note a module that could not be imported."""
    if report.failed:
        _failed.add(f"{report.nodeid} (collection)")


def pytest_sessionfinish(session: Any) -> None:
    """Write the result where the caller reads it."""
    result = {
        "collected": session.testscollected,
        "failed": sorted(_failed),
        "passed": len(_passed - _failed),
        "grafted": _grafted,
    }
    Path(os.environ["BRIDGE_UPSTREAM_REPORT"]).write_text(json.dumps(result))
