"""The demo and the example project, as a user runs them."""

from __future__ import annotations

import subprocess
import sys

from celery_async_bridge.cli import _example


def demo(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "celery_async_bridge", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything worked" in done.stdout
    return done.stdout


def marks(report: str) -> dict[str, str]:
    """Return the mark of each step of a report."""
    rows = [line.split() for line in report.splitlines() if line.strip()]
    names = ("send", "round", "group", "chord", "failure", "retry", "progress", "async")
    return {
        row[0]: next(word for word in row if word in ("ok", "--"))
        for row in rows
        if row[0] in names and not {"ok", "--"}.isdisjoint(row)
    }


def test_without_any_server() -> None:
    report = demo()
    assert "embedded, in this process" in report
    found = marks(report)
    assert len(found) == 8
    assert set(found.values()) == {"ok"}


def test_a_stock_worker_on_redis(redis_url: str) -> None:
    report = demo("--broker", redis_url, "--backend", redis_url)
    assert "a stock prefork worker" in report
    assert [name for name, mark in marks(report).items() if mark != "ok"] == ["async"]


def test_a_stock_worker_on_rabbitmq(amqp_url: str) -> None:
    report = demo("--broker", amqp_url, "--backend", "rpc://")
    skipped = [name for name, mark in marks(report).items() if mark != "ok"]
    assert skipped == ["chord", "async"]


def test_a_step_that_fails_is_told_by_the_exit_status() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "celery_async_bridge", "demo"),
            *("--broker", "redis://:secret@127.0.0.1:1/0"),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1
    assert "redis://:**@127.0.0.1:1/0" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_the_producer_of_the_example() -> None:
    program = """
import asyncio
import celery_async_bridge
from shop.app import app
from shop.producer import main

async def together():
    async with celery_async_bridge.embedded_worker(app):
        await main()

asyncio.run(together())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=_example.example_root(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lines: [8, 2, 9]" in done.stdout
    assert "total: 19" in done.stdout
