"""What a finished test session must not leave behind."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from pathlib import Path


def _is_idle_worker(thread: threading.Thread) -> bool:
    """Whether `thread` is an executor's worker that waits for work.

    Those are joined by the interpreter at exit; one that is *in* a call would
    keep the interpreter from ending.
    """
    frame = sys._current_frames().get(thread.ident or -1)
    if frame is None:
        return True
    code = frame.f_code
    return code.co_name == "_worker" and Path(code.co_filename).parts[-3:] == (
        "concurrent",
        "futures",
        "thread.py",
    )


def stuck_threads() -> list[str]:
    """Non-daemon threads, apart from the main one, that are doing something."""
    return [
        thread.name
        for thread in threading.enumerate()
        if not thread.daemon
        and thread is not threading.main_thread()
        and thread is not threading.current_thread()
        and not _is_idle_worker(thread)
    ]


def child_processes() -> list[str]:
    """Children of this process, alive or not yet waited for."""
    found = {str(child.pid): child.name for child in multiprocessing.active_children()}
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            pids = listing.read_text().split()
        except OSError:
            continue
        for pid in pids:
            try:
                words = Path("/proc", pid, "cmdline").read_text().split("\0")
            except OSError:
                continue
            # The resource tracker of multiprocessing lives as long as we do.
            if not any("resource_tracker" in word for word in words):
                found.setdefault(pid, " ".join(words[:3]) or "zombie")
    return [f"{pid} ({name})" for pid, name in found.items()]


def leftovers(grace: float = 5.0) -> list[str]:
    """Threads and processes still there after `grace` seconds."""
    deadline = time.monotonic() + grace
    while True:
        rest = [f"thread {name}" for name in stuck_threads()]
        rest += [f"process {name}" for name in child_processes()]
        if not rest or time.monotonic() > deadline:
            return rest
        time.sleep(0.05)
