"""Write the diffs of `patches/` and their pins, or check that they are current.

Usage: python -m celery_async_bridge._tools.patches [--check] [--wheels DIR]

Writing reads the wheels of all releases, and has pip download those that are not in the
directory. The check needs neither: it makes the diffs of the installed releases again,
and compares those of the others with what the mixins have to give.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..patching.gains import PACKAGES, Gain, missing, rows
from ..patching.making import digest, make
from ..patching.pins import FILE, Pin, dump, pins
from ..patching.place import site_packages
from ..patching.reading import Sources
from ..patching.refusal import Refused
from ..patching.state import look, plain
from ..patching.weaving import added

__all__ = ("RELEASES", "main", "stale")

ROOT = Path(__file__).parents[2]
#: What is patched: releases that are read together, as classes of one extend another's.
RELEASES = (
    {"amqp": "5.4.2", "kombu": "5.7.0", "celery": "5.7.0"},
    {"amqp": "5.4.1", "kombu": "5.6.2", "celery": "5.6.3"},
    {"amqp": "5.3.1", "kombu": "5.5.4", "celery": "5.5.3"},
    # Kombu takes these as well.
    *({"amqp": version} for version in ("5.4.0", "5.3.0", "5.2.0", "5.1.1")),
)


def _wheel(package: str, version: str, wheels: Path) -> Path:
    file = wheels / f"{package}-{version}-py3-none-any.whl"
    if not file.exists():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
        what = f"{package}=={version}"
        subprocess.run([*command, "--dest", str(wheels), what], check=True)
    pin = pins().get(package, {}).get(version) if FILE.exists() else None
    if pin is not None and digest(file.read_bytes()) != pin.wheel:
        raise Refused(f"{file.name} is not the wheel that was pinned")
    return file


def _read(archives: list[zipfile.ZipFile], path: str) -> bytes | None:
    for archive in archives:
        if path in archive.NameToInfo:
            return archive.read(path)
    return None


def _release(versions: dict[str, str], wheels: Path) -> Iterator[tuple[Any, ...]]:
    files = {name: _wheel(name, versions[name], wheels) for name in versions}
    archives = [zipfile.ZipFile(file) for file in files.values()]
    sources = Sources(partial(_read, archives))
    for package, file in files.items():
        made, gains = make(package, sources)
        pin = Pin(
            digest(file.read_bytes()),
            tuple(missing(package, gains)),
            {one.path: one.pin for one in made},
        )
        yield package, versions[package], pin, made
    for archive in archives:
        archive.close()


def _place(folder: Path, package: str, version: str, path: str) -> Path:
    return folder / package / version / f"{path}.patch"


def write(folder: Path, file: Path, wheels: Path) -> None:
    """Make all diffs and pins anew."""
    wheels.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Pin]] = {package: {} for package in PACKAGES}
    diffs: dict[Path, str] = {}
    for versions in RELEASES:
        for package, version, pin, made in _release(versions, wheels):
            found[package][version] = pin
            for one in made:
                compile(one.after, one.path, "exec")
                diffs[_place(folder, package, version, one.path)] = one.diff()
    for old in set(folder.rglob("*.patch")) - diffs.keys():
        old.unlink()
    for path, text in diffs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    file.write_text(dump(found), encoding="utf-8", newline="\n")


def stale(folder: Path, file: Path = FILE) -> Iterator[str]:
    """Yield what is not current, without downloading anything."""
    known = pins(file)
    wanted = {
        package: {one[package] for one in RELEASES if package in one}
        for package in PACKAGES
    }
    if {package: set(found) for package, found in known.items()} != wanted:
        yield f"{file.name}: not the releases of RELEASES"
    files = set()
    for package, versions in known.items():
        for version, pin in versions.items():
            lines = _lines(package, pin)
            for path in sorted(pin.files.keys() | lines.keys()):
                place = _place(folder, package, version, path)
                files.add(place)
                if Counter(lines.get(path, ())) != Counter(_added(place)):
                    yield str(place.relative_to(folder))
    yield from (str(path) for path in sorted(set(folder.rglob("*.patch")) - files))
    yield from _installed(folder, known)


def _lines(package: str, pin: Pin) -> dict[str, list[str]]:
    """Return the lines that each file of a release has to get."""
    without = set(pin.without)
    by_module: dict[str, list[Gain]] = {}
    for row in rows(package):
        names = tuple(n for n in row.names if f"{row.dotted}.{n}" not in without)
        if names:
            gain = Gain(row.module, row.owner, row.source, row.mixin, names)
            by_module.setdefault(row.module, []).append(gain)
    return {
        f"{module.replace('.', '/')}.py": added(gains)
        for module, gains in by_module.items()
    }


def _added(place: Path) -> list[str]:
    if not place.is_file():
        return []
    lines = place.read_text(encoding="utf-8").splitlines()[2:]
    return [line[1:] for line in lines if line.startswith("+")]


def _installed(folder: Path, known: dict[str, dict[str, Pin]]) -> Iterator[str]:
    root = site_packages()
    looks = look(root)
    made = plain(root, looks)
    for one in looks:
        package, version = one.place.package, one.place.version
        pin = known[package].get(version)
        if pin is None:
            continue
        if pin.files != {patch.path: patch.pin for patch in made[package]}:
            yield f"{package} {version}: the pins"
        for patch in made[package]:
            place = _place(folder, package, version, patch.path)
            text = place.read_text(encoding="utf-8") if place.is_file() else ""
            if text != patch.diff():
                yield str(place.relative_to(folder))


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    parser = argparse.ArgumentParser(prog="patches", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if stale"
    )
    parser.add_argument(
        "--wheels", type=Path, default=ROOT / ".ci" / "cache" / "wheels"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "patches")
    options = parser.parse_args(argv)
    if not options.check:
        write(options.folder, FILE, options.wheels)
        return 0
    found = sorted(set(stale(options.folder)))
    for line in found:
        print(f"{line} is stale: run the tool without --check", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
