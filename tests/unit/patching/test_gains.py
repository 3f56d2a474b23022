"""The patches give what `install()` gives."""

from __future__ import annotations

import importlib.util
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from celery_async_bridge._tools import patches as tool
from celery_async_bridge.core.graft import offered
from celery_async_bridge.install import planned, targets
from celery_async_bridge.mixins.celery.canvas import ChunksMixin
from celery_async_bridge.patching.gains import PACKAGES, gains, missing
from celery_async_bridge.patching.pins import pins
from celery_async_bridge.patching.place import site_packages, sources_at
from celery_async_bridge.patching.twin import class_twin, twin

if TYPE_CHECKING:
    from pathlib import Path

#: All that a line of a diff may be.
_OURS = re.compile(
    r"@@ -\d+,0 \+\d+,\d+ @@"
    r"|\+"
    r"|\+ *# Awaitable twins, by celery-async-bridge\."
    r"( To take them out: celery-async-bridge patches revert)?"
    r"|\+from celery_async_bridge\.[a-z_.]+ import \("
    r"|\+    \w+ as \w+,"
    r"|\+\)"
    r"|\+    (\w+) = (_twin\(|_class_twin\()?_\w+Mixin\.\2\)?"
)
FOLDER = tool.ROOT / "patches"
checkout = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the diffs are not here: this is not a checkout"
)


def test_they_are_those_of_install() -> None:
    # Both read the installed release, one its files and the other its classes.
    absent = {
        module
        for module in ("django", "redis", "amqp")
        if importlib.util.find_spec(module) is None
    }
    if absent:
        pytest.skip(f"not installed, so install() leaves it out: {absent}")
    installed = {(graft.path, graft.name) for graft in planned()}
    known = {
        (target.path, name) for target in targets() for name in offered(target.source)
    }
    sources = sources_at(site_packages())
    found = {p: gains(p, sources) for p in PACKAGES}
    static = {
        (gain.dotted, name)
        for one in found.values()
        for gain in one
        for name in gain.names
    }
    left = {name for p in PACKAGES for name in missing(p, found[p])}
    # Under tests that have called install() nothing is planned any more.
    assert installed <= static <= known
    assert {".".join(pair) for pair in known - static} <= left
    if installed:
        assert installed == static


def test_functions_are_taken_as_they_are() -> None:
    class Other:
        aapply_chunks = class_twin(ChunksMixin.aapply_chunks)
        plain = twin(vars(ChunksMixin)["aapply_async"])

    made = vars(Other)["aapply_chunks"]
    assert isinstance(made, classmethod)
    assert made.__func__ is vars(ChunksMixin)["aapply_chunks"].__func__
    assert vars(Other)["plain"] is vars(ChunksMixin)["aapply_async"]


def test_the_newest_minor_releases_are_pinned() -> None:
    for package in ("kombu", "celery"):
        minors = {version.rpartition(".")[0] for version in pins()[package]}
        assert {"5.6", "5.7"} <= minors


@checkout
def test_diffs_and_pins_are_current() -> None:
    assert list(tool.stale(FOLDER)) == []


@checkout
def test_a_stale_diff_is_found(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "patches")
    old, new = sorted(folder.glob("kombu/*"))[0], sorted(folder.glob("kombu/*"))[-1]
    for place in (old, new):
        file = place / "kombu" / "pools.py.patch"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(lines[:-1]), encoding="utf-8")
    (folder / "celery" / "extra.patch").write_text("", encoding="utf-8")
    found = set(tool.stale(folder))
    assert {f"kombu/{p.name}/kombu/pools.py.patch" for p in (old, new)} <= found
    assert str(folder / "celery" / "extra.patch") in found
    assert tool.main(["--check", "--folder", str(folder)]) == 1


@checkout
def test_diffs_hold_lines_of_ours_only() -> None:
    files = list(FOLDER.rglob("*.patch"))
    assert files
    for file in files:
        head, _, body = file.read_text(encoding="utf-8").partition("\n@@ ")
        assert head.splitlines() == [
            f"--- a/{'/'.join(file.relative_to(FOLDER).parts[2:])}"[: -len(".patch")],
            f"+++ b/{'/'.join(file.relative_to(FOLDER).parts[2:])}"[: -len(".patch")],
        ]
        for line in f"@@ {body}".splitlines():
            assert _OURS.fullmatch(line), line
