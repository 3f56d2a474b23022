"""Copies of the installed upstream packages, to be patched."""

from __future__ import annotations

import base64
import csv
import hashlib
import shutil
from importlib.metadata import distribution
from pathlib import Path

from celery_async_bridge.patching.gains import PACKAGES
from celery_async_bridge.patching.pins import pins

__all__ = ("copy_to", "is_pinned", "snapshot", "untrue")


def copy_to(folder: Path) -> Path:
    """Make a site-packages directory with what the patches need of each package."""
    root = folder / "site-packages"
    for package in PACKAGES:
        found = distribution(package)
        place = Path(str(found.locate_file("")))
        info = f"{package}-{found.version}.dist-info"
        shutil.copytree(place / info, root / info)
        for file in found.files or ():
            if file.suffix == ".py" and file.parts[0] == package:
                target = root / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(place / file, target)
    return root


def is_pinned() -> bool:
    """Whether all of the installed releases are."""
    known = pins()
    return all(distribution(name).version in known[name] for name in PACKAGES)


def snapshot(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return all files below a directory, with their modes and times."""
    return {
        path.relative_to(root).as_posix(): (
            path.read_bytes(),
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in root.rglob("*")
        if path.is_file()
    }


def untrue(root: Path) -> list[str]:
    """Name the files whose row in a RECORD is not theirs."""
    wrong = []
    for record in root.glob("*.dist-info/RECORD"):
        with record.open(encoding="utf-8", newline="") as file:
            for name, code, size in csv.reader(file):
                path = root / name
                if not code or not path.exists():
                    continue
                data = path.read_bytes()
                found = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
                if code != f"sha256={found.decode().rstrip('=')}" or size != str(
                    len(data)
                ):
                    wrong.append(name)
    return wrong
