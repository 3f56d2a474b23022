"""What `embedded://` URLs say."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

__all__ = ("name_of",)


def name_of(url: str | None) -> str:
    """Return the name of the broker that a URL means; empty for the nameless one.

    Raises:
        ValueError: the URL says more than a name.
    """
    if not url or "://" not in url:
        return ""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(
            "embedded:// has no users: leave out what stands before the @, as in "
            "embedded://shop"
        )
    if parts.path.strip("/"):
        raise ValueError(
            f"embedded:// keeps nothing in files (got the path {parts.path!r}): "
            "name the broker with embedded://NAME"
        )
    if parts.query or parts.fragment:
        raise ValueError(
            f"embedded:// takes no options in its URL (got {parts.query!r}): give them "
            "as transport options"
        )
    return unquote(parts.netloc)
