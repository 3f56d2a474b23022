"""`~signature`, awaited."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery


def _app() -> Any:
    app = Celery("aresult", broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True
    return app


async def test_aresult_gives_the_value() -> None:
    app = _app()

    @app.task(shared=False, name="aresult.add")  # type: ignore[untyped-decorator]
    def add(x: int, y: int) -> int:
        return x + y

    assert await add.s(2, 3).aresult() == 5
    assert await (add.s(2, 3) | add.s(4)).aresult() == 9


async def test_aresult_raises_what_the_task_raised() -> None:
    app = _app()

    @app.task(shared=False, name="aresult.fail")  # type: ignore[untyped-decorator]
    def fail() -> None:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError, match="no"):
        await fail.s().aresult()
