"""Ids are random ids of version 4."""

from __future__ import annotations

from uuid import RFC_4122, UUID

from celery_async_bridge.plan.ids import new_ids


def test_they_are_uuids_and_differ() -> None:
    found = [one for _ in range(2000) for one in new_ids()]
    assert len(set(found)) == len(found)
    for text in found:
        one = UUID(text)
        assert (str(one), one.version, one.variant) == (text, 4, RFC_4122)
