"""`celery-async-bridge patches`: the twins in upstream's own files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..patching.acts import apply, is_interrupted, revert, states
from ..patching.place import site_packages
from ..patching.refusal import Refused
from ..patching.state import look, pinned, plain

__all__ = ("main",)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="celery-async-bridge patches",
        description="Put the awaitable twins into the installed amqp, kombu and "
        "celery, where install() at run time is not wanted.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--site-packages",
            type=Path,
            metavar="DIR",
            help="the directory that has the packages (default: this Python's)",
        )
        if name == "check":
            command.add_argument(
                "--patched", action="store_true", help="1, too, unless all are patched"
            )
        if name == "make":
            command.add_argument(
                "--context",
                type=int,
                default=0,
                metavar="N",
                help="lines of upstream around ours, for a pull request (0)",
            )
            command.add_argument(
                "--output", type=Path, metavar="DIR", help="write a file for each diff"
            )
    return parser


def _make(root: Path, options: argparse.Namespace) -> int:
    looks = look(root)
    made = plain(root, looks)
    for one in looks:
        place = one.place
        for patch in made[place.package]:
            text = patch.diff(options.context)
            if options.output is None:
                sys.stdout.write(text)
                continue
            name = f"{place.package}/{place.version}/{patch.path}.patch"
            file: Path = options.output / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
    pinned(root, looks)
    print("as pinned", file=sys.stderr)
    return 0


def _check(root: Path, options: argparse.Namespace) -> int:
    if is_interrupted(root):
        raise Refused(
            f"patching {root} was interrupted: "
            "`patches apply` or `patches revert` puts it in order"
        )
    found = states(root)
    for name, state in found.items():
        print(f"{name}: {state}")
    good = set(found.values()) == {"patched"}
    return 1 if options.patched and not good else 0


def _apply(root: Path, options: argparse.Namespace) -> int:
    changed = apply(root)
    print(f"patched {len(changed)} files" if changed else "nothing to do: patched")
    return 0


def _revert(root: Path, options: argparse.Namespace) -> int:
    changed = revert(root)
    print(f"restored {len(changed)} files" if changed else "nothing to do: not patched")
    return 0


_Command = Callable[[Path, argparse.Namespace], int]
_COMMANDS: dict[str, tuple[_Command, str]] = {
    "make": (_make, "print the diffs for the installed releases, made anew"),
    "check": (_check, "say whether they are patched, or could be; 1 if they cannot"),
    "apply": (_apply, "patch them, all files or none"),
    "revert": (_revert, "restore every byte"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0: done; 1: refused, nothing was changed; 2: a wrong command line.
    """
    options = _parser().parse_args(argv)
    command, _ = _COMMANDS[options.command]
    try:
        root = options.site_packages or site_packages()
        if not root.is_dir():
            raise Refused(f"there is no directory {root}")
        return command(root.resolve(), options)
    except Refused as exc:
        print(exc, file=sys.stderr)
    except OSError as exc:
        print(f"nothing was changed: {exc}", file=sys.stderr)
    return 1
