"""Whether a result can be kept and returned on the spot, without a tier.

Upstream's own code does nothing then but to store a meta in the object and to leave the
subscription, which never blocks on a loop. Ten thousand who wait would otherwise start
as many greenlets to find that out.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ("settles_at_once",)

_OF_RESULT = ("_maybe_set_cache", "_set_cache", "maybe_throw", "_on_fulfilled")
_OF_BACKEND = (
    "meta_from_decoded",
    "remove_pending_result",
    "_remove_pending_result",
    "on_result_fulfilled",
)


def _is_upstreams(cls: type, names: tuple[str, ...], home: str) -> bool:
    # Where the code was written, so that neither an override nor a patch gets by;
    # looked at each time, because patches come late.
    for name in names:
        code = getattr(getattr(cls, name, None), "__code__", None)
        if code is None or not code.co_filename.startswith(home):
            return False
    return True


def settles_at_once(result: Any, backend: Any, meta: dict[str, Any]) -> bool:
    """Whether nobody but upstream is concerned when a result gets its meta.

    Failures are not: they raise through promises that others may have changed.
    """
    import celery

    if meta["status"] != "SUCCESS" or meta.get("children"):
        return False
    ready = result.on_ready
    if ready._svpending is not None or ready._lvpending:
        return False
    home = os.path.join(celery.__path__[0], "")
    return _is_upstreams(type(result), _OF_RESULT, home) and _is_upstreams(
        type(backend), _OF_BACKEND, home
    )
