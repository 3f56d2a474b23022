"""Messages of `filesystem://` appear in their folder when they are complete.

Upstream writes them where readers look. One that looks between the opening and the
writing moves an empty file away, and the message is lost.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import wraps
from typing import Any

from ....core.conversation import current_conversation
from ....core.graft import Seam
from ....core.trampoline import in_trampoline

__all__ = ("whole_seams",)


class _Elsewhere:
    """A channel that writes into another folder."""

    def __init__(self, channel: Any, folder: str) -> None:
        self._channel = channel
        self.data_folder_out = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


def _put(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _put(self: Any, queue: str, payload: Any, **kwargs: Any) -> Any:
        folder = self.data_folder_out
        ours = current_conversation() is not None or in_trampoline()
        if not ours or not os.path.isdir(folder):
            return original(self, queue, payload, **kwargs)
        # Within the folder: a rename must not cross file systems. Readers pass by what
        # does not end as a message does.
        apart = tempfile.mkdtemp(prefix=".bridge-", dir=folder)
        try:
            value = original(_Elsewhere(self, apart), queue, payload, **kwargs)
            for name in os.listdir(apart):
                os.rename(os.path.join(apart, name), os.path.join(folder, name))
            return value
        finally:
            shutil.rmtree(apart, ignore_errors=True)

    return _put


def whole_seams() -> list[Seam]:
    """Return the row for messages in files, where the transport can be imported."""
    try:
        from kombu.transport.filesystem import Channel
    except Exception:  # a platform without file locks
        return []
    why = "a reader must not take a message that is being written"
    return [Seam(Channel, "_put", _put, "a", why)]
