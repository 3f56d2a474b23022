"""A client without the bridge: sends, waits, and prints what came back as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from celery import chain, chord, group

from tests.interop.stock_app import app

assert "celery_async_bridge" not in sys.modules


def main() -> dict[str, Any]:
    add, total = app.tasks["stock.add"], app.tasks["stock.total"]
    found: dict[str, Any] = {}
    found["add"] = add.delay(2, 3).get(timeout=20)
    found["chain"] = chain(add.s(1, 2), add.s(10)).apply_async().get(timeout=20)
    found["group"] = group(add.s(n, n) for n in range(3))().get(timeout=20)
    failed = app.tasks["stock.fail"].delay("boo")
    found["error"] = repr(failed.get(timeout=20, propagate=False))
    found["state"] = failed.state
    found["retries"] = app.tasks["stock.retrying"].delay().get(timeout=20)
    if not app.conf.result_backend.startswith("rpc"):
        body = chord([add.s(n, n) for n in range(3)])(total.s())
        found["chord"] = body.get(timeout=20)
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
