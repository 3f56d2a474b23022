"""Call back after an import, and stay out of the way otherwise."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

from celery_async_bridge.core.late import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    for name, text in (("latefine", "value = 1"), ("latebad", "1 / 0")):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    called: list[str] = []

    def ready(name: str) -> None:
        assert sys.modules[name].value == 1
        called.append(name)

    before = list(sys.meta_path)
    watch = Watch({"latefine", "latebad", "lategone"}, ready)
    watch.start()
    yield called
    watch.stop()
    watch.stop()
    assert sys.meta_path == before
    for name in ("latefine", "latebad"):
        sys.modules.pop(name, None)


def test_it_calls_back_when_the_module_is_there(names: list[str]) -> None:
    module = importlib.import_module("latefine")
    assert names == ["latefine"]
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    importlib.reload(module)
    assert names == ["latefine"] * 2


def test_what_fails_or_is_not_there_fails_as_ever(names: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("latebad")
    with pytest.raises(ModuleNotFoundError, match="lategone"):
        importlib.import_module("lategone")
    assert names == []
