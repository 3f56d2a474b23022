"""Compiled forms of files that were changed."""

from __future__ import annotations

import contextlib
import importlib.util
import py_compile
from collections.abc import Iterable
from pathlib import Path

__all__ = ("renew",)


def renew(paths: Iterable[Path]) -> None:
    """Compile again what was compiled, and remove what another Python compiled.

    Python looks at the time and the size of a file to see that it is another one, and
    may be told not to look. What cannot be written is left to it.
    """
    for path in paths:
        if path.suffix != ".py":
            continue
        ours = {
            Path(importlib.util.cache_from_source(str(path), optimization=text)): level
            for level, text in enumerate(("", "1", "2"))
        }
        folder = path.parent / "__pycache__"
        for half in folder.glob(f"{path.stem}.*.pyc.*"):
            # Of a process that was killed while it compiled.
            with contextlib.suppress(OSError):
                half.unlink()
        for cache in folder.glob(f"{path.stem}.*.pyc"):
            with contextlib.suppress(OSError, py_compile.PyCompileError):
                if cache in ours:
                    _compile(path, cache, ours[cache])
                else:
                    cache.unlink()


def _compile(path: Path, cache: Path, level: int) -> None:
    flags = int.from_bytes(cache.read_bytes()[4:8], "little")
    modes = py_compile.PycInvalidationMode
    mode = {1: modes.UNCHECKED_HASH, 3: modes.CHECKED_HASH}.get(flags, modes.TIMESTAMP)
    py_compile.compile(
        str(path),
        cfile=str(cache),
        doraise=True,
        optimize=level,
        invalidation_mode=mode,
    )
