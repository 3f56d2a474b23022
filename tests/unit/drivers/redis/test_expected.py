"""Replies go to those who asked, in the order of the commands."""

from __future__ import annotations

import asyncio
from typing import Any

from celery_async_bridge.drivers.redis.expected import Expected, answer_all

__all__ = ()

JOIN, LEAVE = b"subscribe", b"unsubscribe"


async def waiter() -> asyncio.Future[bool]:
    """Somebody who waits for acks."""
    return asyncio.get_running_loop().create_future()


async def test_the_last_ack_of_the_last_command_counts() -> None:
    expected, first, second = Expected(), await waiter(), await waiter()
    assert not expected.when_subscribed([first])
    expected.acks(JOIN, 2)
    assert expected.when_subscribed([first])
    expected.acks(LEAVE, 1)
    expected.acks(JOIN, 1)
    assert expected.when_subscribed([second])
    expected.take_ack(JOIN)
    assert not first.done()
    expected.take_ack(JOIN)
    assert first.result() is True
    expected.take_ack(LEAVE)
    assert not second.done()
    expected.take_ack(JOIN)
    assert second.result() is True
    assert not expected.when_subscribed([first])


async def test_an_error_is_that_of_the_oldest_command() -> None:
    read: list[Any] = []
    expected, joining = Expected(), await waiter()
    expected.reply(read.append)
    expected.acks(JOIN, 3)
    assert expected.when_subscribed([joining])
    expected.reply(read.append)
    assert not expected.take_error()
    assert read == [None]
    assert not joining.done()
    assert expected.take_error()
    assert joining.result() is False
    assert expected.take_reply([b"1"])
    assert read == [None, [b"1"]]


async def test_a_reply_in_the_place_of_an_ack_does_not_fit() -> None:
    read: list[Any] = []
    expected = Expected()
    expected.acks(JOIN, 1)
    expected.reply(read.append)
    assert not expected.take_reply([b"1"])
    assert read == []


async def test_what_nobody_asked_for_is_nobodys() -> None:
    expected = Expected()
    expected.take_ack(JOIN)
    expected.take_ack(LEAVE)
    assert expected.take_reply([b"1"])
    assert not expected.take_error()


async def test_a_leave_that_is_not_answered_holds_nobody_up() -> None:
    expected, joining = Expected(), await waiter()
    expected.acks(LEAVE, 2)
    expected.acks(JOIN, 1)
    expected.when_subscribed([joining])
    expected.take_ack(JOIN)
    assert joining.result() is True


async def test_a_loss_is_told_to_all() -> None:
    read: list[Any] = []
    expected, joining = Expected(), await waiter()
    expected.reply()
    expected.acks(JOIN, 2)
    expected.when_subscribed([joining])
    expected.reply(read.append)
    expected.lose()
    assert read == [None]
    assert joining.result() is False
    assert not expected.when_subscribed([joining])
    answer_all([joining], True)  # who has an answer keeps it
    assert joining.result() is False
