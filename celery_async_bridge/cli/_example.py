"""Find the example project: beside a checkout, or as data of an installed wheel."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ("example_root", "load_shop")

_PACKAGE = Path(__file__).resolve().parent.parent


def example_root() -> Path:
    """Return the directory that holds the `shop` project."""
    for root in (_PACKAGE / "_examples", _PACKAGE.parent / "docs" / "examples"):
        if (root / "shop" / "app.py").is_file():
            return root
    raise FileNotFoundError(
        "the example project is missing: install a complete wheel or use a checkout"
    )


def load_shop(broker: str, backend: str, queue: str) -> ModuleType:
    """Import the example's tasks, configured for these URLs."""
    os.environ.update(SHOP_BROKER=broker, SHOP_BACKEND=backend, SHOP_QUEUE=queue)
    root = str(example_root())
    if root not in sys.path:
        sys.path.insert(0, root)
    return importlib.import_module("shop.tasks")
