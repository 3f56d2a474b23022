"""Two random ids for the price of one system call."""

from __future__ import annotations

from os import urandom

__all__ = ("new_ids",)

#: The variant digit of RFC 4122, by the random digit in its place.
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def new_ids() -> tuple[str, str]:
    """Return two ids such as `str(uuid.uuid4())` makes them."""
    h = urandom(32).hex()
    v = _VARIANT
    return (
        f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{v[h[16]]}{h[17:20]}-{h[20:32]}",
        f"{h[32:40]}-{h[40:44]}-4{h[45:48]}-{v[h[48]]}{h[49:52]}-{h[52:]}",
    )
