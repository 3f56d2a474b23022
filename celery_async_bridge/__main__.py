"""Dispatch `python -m celery_async_bridge COMMAND` to the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ("main",)

_COMMANDS = {
    "demo": "celery_async_bridge.cli.demo",
    "patches": "celery_async_bridge.cli.patches",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = _COMMANDS.get(arguments[0]) if arguments else None
    if command is None:
        asked = arguments[:1] in (["-h"], ["--help"])
        names = ", ".join(_COMMANDS)
        print(
            f"usage: celery-async-bridge COMMAND [options]\ncommands: {names}",
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked else 2
    return int(import_module(command).main(arguments[1:]))


if __name__ == "__main__":
    raise SystemExit(main())
