"""`explain()` knows methods that are in upstream's own files."""

from __future__ import annotations

import subprocess
import sys

_PATCHED = """
import celery
from celery_async_bridge import explain, install
from celery_async_bridge.mixins.celery.app.task import TaskMixin
from celery_async_bridge.patching.twin import twin

celery.Task.adelay = twin(TaskMixin.adelay)
celery.Task.aretry = lambda self: None  # upstream's own, one day
app = celery.Celery("x", broker="memory://", backend="cache+memory://")

def tiers():
    rows = [row for row in explain(app) if row.cls == "celery.app.task.Task"]
    return {row.method: (row.tier, row.reason) for row in rows}

before = tiers()
assert before["adelay"][0] == "thread" and "patched in" in before["adelay"][1]
assert before["aapply_async"][0] == "not installed"
assert before["aretry"][0] == "upstream"
assert "celery.app.task.Task.adelay" not in install()
after = tiers()
assert after["adelay"][0] == after["aapply_async"][0] == "native"
assert after["aretry"][0] == "upstream"
"""


def test_a_patched_method_is_ours() -> None:
    subprocess.run([sys.executable, "-c", _PATCHED], check=True)
