"""Celery's timer thread, made prompt."""

from __future__ import annotations

import threading
from typing import Any

from celery.utils import timer2

__all__ = ("Timer",)


class Timer(timer2.Timer):
    """Runs entries with an ETA when they are due, and ends at once when it is stopped.

    Upstream's thread sleeps up to a second between two looks, so that an entry that
    comes meanwhile is late, and so is the end of the worker.
    """

    schedule: Any
    not_empty: threading.Condition

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ending = False

    def run(self) -> None:
        """Run what is due until `stop()` is called."""
        self.running = True
        self.scheduler = iter(self.schedule)
        while True:
            with self.not_empty:
                if self._ending:
                    return
                delay, entry = next(self.scheduler)
                if entry is None:
                    self.not_empty.wait(delay)
                    continue
            self.schedule.apply_entry(entry)

    def stop(self) -> None:
        """End the thread and wait for it."""
        with self.not_empty:
            self._ending = True
            self.not_empty.notify_all()
        if self.is_alive() and threading.current_thread() is not self:
            self.join()
        self.running = False
