"""What the `celery` command loads: the names of the asyncio pool for `-P`.

Celery imports this for every one of its commands; it must stay light.
"""

from __future__ import annotations

from typing import Any

import click
from celery import concurrency
from celery.bin.base import CeleryCommand
from celery.bin.worker import WORKERS_POOL

from ..mixins.celery._pools import OWN_NAME, POOL, names

__all__ = ("async_pool", "offer")

_known: dict[str, Any] = vars(concurrency)["ALIASES"]


def offer() -> None:
    """Add the names of the pool to those that Celery knows."""
    for name in names(_known):
        _known[name] = POOL
    # Click froze the choices when the command was imported.
    shown: Any = WORKERS_POOL.choices
    new = [name for name in _known if name not in shown]
    WORKERS_POOL.choices = (*shown, *new)


offer()


@click.command("async-pool", cls=CeleryCommand)
def async_pool(**_: Any) -> None:
    """Show which pool `celery worker -P asyncio` runs."""
    for name in ("asyncio", OWN_NAME):
        click.echo(f"-P {name}: {_known[name]}")
