"""Tasks that are sent when the transaction of Django is committed."""

# mypy: disable-error-code="attr-defined,untyped-decorator,import-not-found"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async

from tests.integration.django import site

django = pytest.importorskip("django")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.mixins.celery.conftest import Desk


@pytest.fixture
def add(make_desk: Callable[..., Desk]) -> Iterator[Any]:
    site.start()
    from celery.contrib.django.task import DjangoTask

    desk = make_desk("memory")

    @desk.app.task(base=DjangoTask, shared=False)
    def add(x: int) -> int:
        return x

    add.desk = desk
    yield add
    site.close_all()


async def test_without_a_transaction_it_is_sent_at_once(add: Any) -> None:
    assert await add.adelay_on_commit(1) is None
    assert await add.aapply_async_on_commit((2,), headers={"a": 1}) is None
    first, second = add.desk.sent()
    assert first["body"].startswith("[[1]")
    assert second["headers"]["a"] == 1


async def test_it_is_sent_at_the_commit_and_not_after_a_rollback(add: Any) -> None:
    from django.db import transaction

    atomic = transaction.atomic()
    await sync_to_async(atomic.__enter__)()
    await add.adelay_on_commit(1)
    assert add.desk.sent() == []
    await sync_to_async(atomic.__exit__)(None, None, None)
    assert len(add.desk.sent()) == 1

    atomic = transaction.atomic()
    await sync_to_async(atomic.__enter__)()
    await add.aapply_async_on_commit((1,))
    await sync_to_async(atomic.__exit__)(ValueError, ValueError(), None)
    assert add.desk.sent() == []
