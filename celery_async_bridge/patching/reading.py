"""Read which names upstream's classes define, without importing upstream.

A patch is made for files: of a release that is not installed, or of one that is already
patched and would say that it has the twins.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

from .refusal import Refused

__all__ = ("Sources", "class_named")

#: The packages whose files are read; other bases must be of the standard library.
_ROOTS = frozenset({"amqp", "kombu", "celery"})


class Sources:
    """Upstream's modules, by their dotted names.

    Arguments:
        read: returns the bytes of a file by its path below the packages' directory,
            or None where there is no such file.
    """

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._trees: dict[str, ast.Module] = {}

    def path(self, module: str) -> str | None:
        """Return the path of a module's file, or None if this release has none."""
        stem = module.replace(".", "/")
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if self._read(path) is not None:
                return path
        return None

    def text(self, path: str) -> bytes:
        """Return the bytes of a file that is there."""
        found = self._read(path)
        if found is None:
            raise Refused(f"{path} is missing: reinstall the package that it is from")
        return found

    def tree(self, module: str) -> ast.Module:
        """Return a parsed module."""
        if module not in self._trees:
            path = self.path(module)
            if path is None:
                raise Refused(f"there is no module {module} in this release")
            try:
                self._trees[module] = ast.parse(self.text(path))
            except (SyntaxError, ValueError) as exc:
                raise Refused(f"{path} is not Python: {exc}") from exc
        return self._trees[module]

    def has(self, module: str, name: str) -> bool:
        """Whether this release has a module, and the class in it ("": any)."""
        if self.path(module) is None:
            return False
        return not name or class_named(self.tree(module), name) is not None

    def names(self, module: str, name: str) -> frozenset[str]:
        """Name what a class and its bases define, or what a module does."""
        if not name:
            return frozenset(_bound(self.tree(module).body))
        node = class_named(self.tree(module), name)
        if node is None:
            raise Refused(f"there is no class {name} in {module}")
        found = set(_bound(node.body))
        for base in node.bases:
            found |= self._base(module, base)
        return frozenset(found)

    def _base(self, module: str, base: ast.expr) -> frozenset[str]:
        written = ast.unparse(base).split("[")[0]
        first, _, rest = written.partition(".")
        if class_named(self.tree(module), written) is not None:
            return self.names(module, written)
        source = self._imported(module).get(first)
        if source is None:
            value = getattr(builtins, written, None)
            if not isinstance(value, type):
                raise Refused(f"{module}: cannot tell what the base {written} is")
            return _of_classes(value)
        dotted = f"{source}.{rest}" if rest else source
        home, _, name = dotted.rpartition(".")
        if home.partition(".")[0] not in _ROOTS:
            return _foreign(home, name)
        return self._followed(home, name)

    def _followed(self, module: str, name: str) -> frozenset[str]:
        """Return the names of a class that a module defines or imports itself."""
        if class_named(self.tree(module), name) is not None:
            return self.names(module, name)
        return self._base(module, ast.parse(name, mode="eval").body)

    def _imported(self, module: str) -> dict[str, str]:
        """Map each name that a module imports to where it comes from."""
        path = self.path(module) or ""
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        found = {}
        for node in _flat(self.tree(module).body):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    found[name] = alias.name if alias.asname else name
            elif isinstance(node, ast.ImportFrom):
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1] if node.level else []
                home = ".".join([*above, *filter(None, [node.module])])
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{home}.{alias.name}"
        return found


def class_named(tree: ast.Module, name: str) -> ast.ClassDef | None:
    """Return the class of a module by its name, also from within `if` and `try`."""
    for node in _flat(tree.body):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    return None


def _flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, and those of the blocks that are no scope of their own."""
    for node in body:
        yield node
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for block in ("body", "orelse", "finalbody"):
            yield from _flat(getattr(node, block, ()))
        for handler in getattr(node, "handlers", ()):
            yield from _flat(handler.body)


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    for node in _flat(body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        else:
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            if isinstance(node, ast.AnnAssign) and node.value is None:
                continue
            for target in filter(None, targets):
                for part in ast.walk(target):
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                        yield part.id


def _foreign(home: str, name: str) -> frozenset[str]:
    if home.partition(".")[0] not in sys.stdlib_module_names:
        raise Refused(f"cannot read the base {home}.{name}: it is of another package")
    return _of_classes(getattr(import_module(home), name))


def _of_classes(cls: type) -> frozenset[str]:
    return frozenset(name for one in cls.__mro__ for name in vars(one))
