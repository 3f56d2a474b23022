"""The releases that can be patched, and the hashes of their files before and after.

They are in the wheel, as data; the diffs are not: the command makes them again from the
installed files, and the hashes say whether they are the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .refusal import Refused

__all__ = ("FILE", "Pin", "PinnedFile", "dump", "pin_of", "pins", "released")

FILE = Path(__file__).with_name("pins.json")


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One file of a release.

    Attributes:
        before: its SHA-256 as upstream ships it.
        after: its SHA-256 with the twins.
        places: for each hunk how many original lines are before it, and its length.
    """

    before: str
    after: str
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """One release.

    Attributes:
        wheel: the SHA-256 of the wheel that the diffs were made from.
        without: twins that this release does not get, for it has no such sync method.
        files: its files that get twins, by path.
    """

    wheel: str
    without: tuple[str, ...]
    files: dict[str, PinnedFile]


def pins(file: Path = FILE) -> dict[str, dict[str, Pin]]:
    """Return all pins, by package and version."""
    data = json.loads(file.read_text(encoding="utf-8"))
    return {
        package: {version: _pin(pin) for version, pin in versions.items()}
        for package, versions in data.items()
    }


def _pin(data: dict[str, Any]) -> Pin:
    files = {path: _file(*one) for path, one in data["files"].items()}
    return Pin(data["wheel"], tuple(data["without"]), files)


def _file(before: str, after: str, places: str) -> PinnedFile:
    pairs = (place.split("+") for place in places.split())
    numbers = tuple((int(start), int(length)) for start, length in pairs)
    return PinnedFile(before, after, numbers)


def released(package: str) -> list[str]:
    """Name the versions of a package that can be patched, oldest first."""
    return sorted(pins()[package], key=lambda text: [*map(int, text.split("."))])


def pin_of(package: str, version: str) -> Pin:
    """Return the pin of a release.

    Raises:
        Refused: there is none.
    """
    found = pins()[package].get(version)
    if found is None:
        known = ", ".join(released(package))
        raise Refused(
            f"{package} {version} cannot be patched, only {known}: "
            "install one of these, or use celery_async_bridge.install()"
        )
    return found


def _row(one: PinnedFile) -> list[str]:
    places = " ".join(f"{start}+{length}" for start, length in one.places)
    return [one.before, one.after, places]


def dump(found: Mapping[str, Mapping[str, Pin]]) -> str:
    """Return the text of the file for these pins."""
    data = {
        package: {
            version: {
                "wheel": pin.wheel,
                "without": list(pin.without),
                "files": {path: _row(one) for path, one in pin.files.items()},
            }
            for version, pin in versions.items()
        }
        for package, versions in found.items()
    }
    return json.dumps(data, indent=1) + "\n"
