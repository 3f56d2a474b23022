"""Take the passwords out of URLs before anybody sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ("mask",)

_SCHEME = r"[a-z][a-z0-9+.\-]*:/{1,2}"
# Where one URL of a failover list ends. A separator inside a password is not followed
# by a scheme.
_SEPARATOR = re.compile(rf"([;,]\s*)(?={_SCHEME})", re.IGNORECASE)
_START = re.compile(rf"\s*(?:{_SCHEME}|//)?", re.IGNORECASE)
# `host:port` where the port is none: a password whose @host was forgotten.
_NO_PORT = re.compile(r"[^\[\]:/?#]*:(?!\d*(?:[/?#,]|$))", re.DOTALL)
_SETTING = re.compile(
    r"[\w%\-]*(?:passw|pwd|secret|token|signature|credential|auth_?key|api_?key"
    r"|(?:access|account|private|shared)_?key)[\w%\-]*"
    r"(?:[\"']\s*:|\s*=|%22%3a|%3d)(?P<value>[^&]+)",
    re.IGNORECASE | re.DOTALL,
)


def mask(url: str | Iterable[str] | None) -> str:
    """Return a URL, or a failover list of URLs, with every password as `**`.

    Where a password cannot be told from what surrounds it, both are hidden.
    """
    if url is None:
        return ""
    if not isinstance(url, str):
        return ";".join(mask(one) for one in url)
    return "".join(
        part if index % 2 else _mask_one(part)
        for index, part in enumerate(_SEPARATOR.split(url))
    )


def _mask_one(url: str) -> str:
    shown: list[str] = []
    end = 0
    for start, stop in sorted(_secrets(url)):
        if start > end or not shown:
            shown.append(url[end:start])
        end = max(end, stop)
    return "**".join([*shown, url[end:]])


def _secrets(url: str) -> Iterator[tuple[int, int]]:
    start = _START.match(url)
    begin = 0 if start is None else start.end()
    # The last @ counts: an unescaped one belongs to the password.
    at = url.rfind("@", begin)
    if at >= 0:
        colon = url.find(":", begin, at)
        # A name alone is hidden as well: it may be a token, or a password without
        # its colon.
        first = begin if colon < 0 else colon + 1
        if first < at:
            yield first, at
    elif begin and (lost := _NO_PORT.match(url, begin)) is not None:
        yield lost.end(), len(url)
    for setting in _SETTING.finditer(url, begin):
        yield setting.span("value")
