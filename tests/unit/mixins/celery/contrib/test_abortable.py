"""Tasks that are told to stop."""

from __future__ import annotations

# Type checkers know neither the grafted methods nor the decorator of an untyped app.
# mypy: disable-error-code="attr-defined,untyped-decorator,type-arg"
from typing import TYPE_CHECKING

import pytest
from celery import uuid
from celery.contrib.abortable import AbortableAsyncResult, AbortableTask

from tests.unit.mixins.celery.conftest import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.mixins.celery.conftest import Desk


@pytest.mark.parametrize("stack", ["memory", "redis"])
async def test_a_task_learns_that_it_was_aborted(
    make_desk: Callable[..., Desk], stack: str
) -> None:
    app = make_desk(stack).app

    @app.task(base=AbortableTask, shared=False)
    def long() -> None:
        pass

    own = uuid()
    result = long.AsyncResult(own)
    assert type(result) is AbortableAsyncResult
    with running(long, id=own):
        assert await long.ais_aborted() is False
        await result.aabort()
        assert await long.ais_aborted() is True
    assert await long.ais_aborted(task_id=own) is True
    assert await result.ais_aborted() is True
    assert result.is_aborted()
    result.forget()
