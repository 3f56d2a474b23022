"""Look at installed packages: what is patched, what could be, and what neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import receipt as receipts
from .gains import PACKAGES
from .making import Patched, digest, make
from .pins import Pin, pin_of, pins
from .place import Installed, installed, sources_at
from .receipt import Entry, Receipt
from .refusal import Refused

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("Look", "look", "pinned", "plain")


@dataclass(frozen=True, slots=True)
class Look:
    """One installed package.

    Attributes:
        place: where it is.
        receipt: what was done to it, if anything was.
        contents: its files that have twins, or are to get them, as they are.
        plain: the same without twins.
    """

    place: Installed
    receipt: Receipt | None
    contents: dict[str, bytes]
    plain: dict[str, bytes]

    @property
    def patched(self) -> list[str]:
        """The paths of the files that have twins."""
        return [
            path for path in self.contents if self.contents[path] != self.plain[path]
        ]


def look(root: Path) -> list[Look]:
    """Read the packages of a site-packages directory.

    Raises:
        Refused: a package is missing, or a file was changed after it was patched.
    """
    return [_look(root, place) for place in installed(root)]


def _look(root: Path, place: Installed) -> Look:
    note = receipts.read(place.info)
    noted = {entry.path: entry for entry in note.entries} if note else {}
    contents, plain = {}, {}
    for path, entry in sorted({**_pinned(place), **noted}.items()):
        try:
            found = contents[path] = (root / path).read_bytes()
        except FileNotFoundError:
            raise Refused(f"{path} is missing: reinstall {place.package}") from None
        # With a note it must be what the note says. Without one it may have been
        # patched by other tools, or installed again since.
        is_ours = digest(found) == entry.after
        if path in noted:
            is_ours = digest(found) != entry.before
        plain[path] = entry.restored(found) if is_ours else found
    return Look(place, note, contents, plain)


def _pinned(place: Installed) -> dict[str, Entry]:
    pin = pins()[place.package].get(place.version)
    files = pin.files.items() if pin else ()
    return {
        path: Entry(path, one.before, one.after, None, one.places)
        for path, one in files
    }


def plain(root: Path, looks: list[Look]) -> dict[str, list[Patched]]:
    """Make the patches of installed packages anew, from their files without twins."""
    instead = {path: data for one in looks for path, data in one.plain.items()}
    sources = sources_at(root, instead)
    return {package: make(package, sources)[0] for package in PACKAGES}


def pinned(root: Path, looks: list[Look]) -> dict[str, list[Patched]]:
    """Make the patches and compare them with the pins.

    Raises:
        Refused: a release is not pinned, a file is not upstream's, or what was made is
            not what the pins say.
    """
    for one in looks:
        pin = pin_of(one.place.package, one.place.version)
        strange = [
            path
            for path, file in pin.files.items()
            if digest(one.plain[path]) != file.before
        ]
        if strange:
            name = f"{one.place.package}=={one.place.version}"
            raise Refused(
                f"not as released: {', '.join(strange)}: "
                f"pip install --force-reinstall --no-deps {name}"
            )
    made = plain(root, looks)
    for one in looks:
        pin = pin_of(one.place.package, one.place.version)
        _same(one.place, pin, made[one.place.package])
    return made


def _same(place: Installed, pin: Pin, made: list[Patched]) -> None:
    files = {one.path: one.pin for one in made}
    if files != pin.files:
        wrong = sorted(path for path, _ in files.items() ^ pin.files.items())
        raise Refused(
            f"the patch of {place.package} {place.version} is not the pinned one: "
            f"{', '.join(dict.fromkeys(wrong))}; the installation of "
            "celery-async-bridge is incomplete, or the packages do not belong together"
        )
