"""Install on import: `import celery_async_bridge.auto`."""

from __future__ import annotations

from .install import install

__all__ = ()

install()
