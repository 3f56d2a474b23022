"""Notice that a module is imported, for what must not import it itself."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ("Watch",)


class Watch(MetaPathFinder):
    """Calls back when one of some modules has been executed.

    It finds nothing itself: it lets the other finders look and wraps the loader that
    they name for the time of one import.
    """

    def __init__(self, names: Iterable[str], ready: Callable[[str], object]) -> None:
        self._names = frozenset(names)
        self._ready = ready

    def start(self) -> None:
        """Look at every import from now on."""
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Look no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Return what the other finders say, with its loader wrapped."""
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, Watch) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Announcing(spec.loader, self._ready)
                return spec
        return None


class _Announcing(Loader):
    def __init__(self, loader: Any, ready: Callable[[str], object]) -> None:
        self._loader = loader
        self._ready = ready

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # Whoever asks the module for its loader gets the real one.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._ready(module.__name__)
