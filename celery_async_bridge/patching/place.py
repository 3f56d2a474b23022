"""Where the packages are installed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    distributions,
)
from pathlib import Path
from typing import Any

from .gains import PACKAGES
from .reading import Sources
from .refusal import Refused

__all__ = ("Installed", "installed", "site_packages", "sources_at")


@dataclass(frozen=True, slots=True)
class Installed:
    """One package in a site-packages directory.

    Attributes:
        package: its name.
        version: its release.
        info: the directory of its metadata.
    """

    package: str
    version: str
    info: Path


def site_packages() -> Path:
    """Return the directory that has this interpreter's Kombu.

    Raises:
        Refused: there is none.
    """
    try:
        return Path(str(distribution("kombu").locate_file("")))
    except PackageNotFoundError:
        raise Refused("kombu is not installed: pip install kombu celery") from None


def installed(root: Path) -> list[Installed]:
    """Return the packages of a site-packages directory.

    Raises:
        Refused: one of them is not there, or not as an installer leaves it.
    """
    return [_one(root, package) for package in PACKAGES]


def _one(root: Path, package: str) -> Installed:
    found = list(distributions(name=package, path=[str(root)]))
    if not found:
        raise Refused(
            f"{package} is not installed in {root}: name the directory that has it "
            "with --site-packages"
        )
    if len(found) > 1:
        raise Refused(f"{package} is in {root} twice: reinstall it")
    info = _info(found[0])
    if info is None or not info.is_dir() or not (root / package).is_dir():
        raise Refused(
            f"{package} in {root} is not a plain installation (an editable one?): "
            f"pip install --force-reinstall --no-deps {package}=={found[0].version}"
        )
    return Installed(package, found[0].version, info)


def _info(found: Distribution) -> Path | None:
    # The only public way to it is through RECORD, which packages of Linux
    # distributions do not have.
    path: Any = vars(found).get("_path")
    return None if path is None else Path(str(path))


def sources_at(root: Path, instead: dict[str, bytes] | None = None) -> Sources:
    """Return the modules below a directory.

    Arguments:
        root: the directory.
        instead: files by path that are read from here.
    """
    known = instead or {}

    def read(path: str) -> bytes | None:
        if path in known:
            return known[path]
        file = root / path
        return file.read_bytes() if file.is_file() else None

    return Sources(read)
