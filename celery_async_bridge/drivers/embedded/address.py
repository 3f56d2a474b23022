"""What `embedded://` URLs say."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

__all__ = ("is_file", "name_of")

#: Windows writes the letter of a drive behind the slash of a URL.
_DRIVE = re.compile(r"/[A-Za-z]:[/\\]")


def is_file(name: str) -> bool:
    """Whether a name is the path of a file, which lasts."""
    return os.path.isabs(name)


def name_of(url: str | None) -> str:
    """Return the name of the broker that a URL means; empty for the nameless one.

    Of `embedded:///path/to/file.db` it is the path, without symbolic links.

    Raises:
        ValueError: the URL says more than a name or an absolute path.
    """
    if not url or "://" not in url:
        return ""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(
            "embedded:// has no users: leave out what stands before the @, as in "
            "embedded://shop"
        )
    if parts.query or parts.fragment:
        raise ValueError(
            f"embedded:// takes no options in its URL (got {parts.query!r}): give them "
            "as transport options"
        )
    name, path = unquote(parts.netloc), unquote(parts.path)
    if not path.strip("/"):
        if "/" in name or "\\" in name or is_file(name):
            raise ValueError(
                f"embedded:// names a broker without slashes (got {name!r}): a file is "
                "embedded:///path/to/file.db, with three"
            )
        return name
    if name:
        raise ValueError(
            f"embedded:// takes a name or an absolute path, not both (got {name!r} and "
            f"{path!r}): say embedded://NAME for a broker in memory, or "
            "embedded:///path/to/file.db, with three slashes, for one in a file"
        )
    if path.strip("/") == ":memory:":
        raise ValueError(
            "embedded:///:memory: is no file: a broker in memory is embedded://NAME, "
            "without a path"
        )
    if path.endswith("/"):
        raise ValueError(
            f"embedded:// needs the path of a file (got the directory {path!r}), as in "
            f"embedded://{path}broker.db"
        )
    if _DRIVE.match(path):
        path = path[1:]
    return os.path.realpath(path)
