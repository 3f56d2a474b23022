"""All changes or none, wherever the process dies."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from celery_async_bridge.patching.atomic import (
    JOURNAL,
    Change,
    commit,
    locked,
    recover,
)
from celery_async_bridge.patching.refusal import Refused

ROOT = Path(__file__).parents[3]
BEFORE = {"a.py": b"a", "b/b.py": b"b", "gone": b"gone"}
AFTER = {"a.py": b"aa", "b/b.py": b"bb", "made": b"made"}


def _fill(root: Path) -> list[Change]:
    for name, data in BEFORE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    names = sorted({*BEFORE, *AFTER})
    return [Change(root / n, BEFORE.get(n), AFTER.get(n)) for n in names]


def _found(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_all_is_done(tmp_path: Path) -> None:
    changes = _fill(tmp_path)
    (tmp_path / "a.py").chmod(0o640)
    commit(tmp_path, changes)
    assert _found(tmp_path) == AFTER
    assert (tmp_path / "a.py").stat().st_mode & 0o777 == 0o640
    assert recover(tmp_path) == ""


def test_a_file_that_others_have_changed_stops_it(tmp_path: Path) -> None:
    changes = _fill(tmp_path)
    (tmp_path / "b" / "b.py").write_bytes(b"other")
    with pytest.raises(Refused, match="changed by someone else"):
        commit(tmp_path, changes)
    assert _found(tmp_path) == {**BEFORE, "b/b.py": b"other"}


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    changes = _fill(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "real")
    (tmp_path / "a.py").symlink_to("real")
    with pytest.raises(Refused, match="link"):
        commit(tmp_path, changes)
    assert (tmp_path / "a.py").is_symlink()


def test_a_hard_link_keeps_what_it_has(tmp_path: Path) -> None:
    changes = _fill(tmp_path)
    os.link(tmp_path / "a.py", tmp_path / "cached")
    commit(tmp_path, changes)
    assert _found(tmp_path) == {**AFTER, "cached": b"a"}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_undoes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    # Wherever it comes: the n-th rename fails, until there are no more.
    original = os.replace
    ends = []
    for n in range(100):
        root = tmp_path / str(n)
        left = [n]

        def replace(old: Path, new: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == -1:
                raise error("the disk is gone")
            original(old, new)

        changes = _fill(root)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            try:
                commit(root, changes)
            except error:
                ends.append("undone")
                assert _found(root) == BEFORE
            else:
                assert _found(root) == AFTER
                break
    assert len(ends) == 6  # three files, and three states of the journal


# Dies at the n-th call of anything that changes the disk, for each n; then what the
# next run finds is put in order, dying once more on the way.
CRASHES = """
import os, sys, pathlib
from tests.unit.patching.test_atomic import AFTER, BEFORE, _fill, _found
from celery_async_bridge.patching.atomic import commit, recover

NAMES = ("replace", "unlink", "fsync", "utime", "open")
originals = {name: getattr(os, name) for name in NAMES}

def dying(act, n):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    left = [n]
    def wrapped(original):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return original(*args, **kwargs)
        return call
    for name, original in originals.items():
        setattr(os, name, wrapped(original))
    act()
    os._exit(0)

top = pathlib.Path(sys.argv[1])
seen = set()
for n in range(1000):
    root = top / str(n)
    changes = _fill(root)
    code = dying(lambda: commit(root, changes), n)
    half = any(_found(root).get(name) == data for name, data in AFTER.items())
    for m in range(0, 1000, 5):
        if dying(lambda: recover(root), m) == 0:
            break
    found = _found(root)
    assert found in (BEFORE, AFTER), (n, found)
    seen.add((code, half, found == AFTER))
    if code == 0:
        break
print(n, sorted(seen))
assert {(9, False, False), (9, True, False), (9, True, True), (0, True, True)} <= seen
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_crash_is_undone_by_the_next_run(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", CRASHES, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_an_installer_did_after_a_crash_stays(tmp_path: Path) -> None:
    changes = _fill(tmp_path)

    class Crash(BaseException):
        pass

    def crash(*args: object) -> None:
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("celery_async_bridge.patching.atomic.recover", crash)
        with pytest.raises(Crash):
            commit(tmp_path, changes)
    journal = tmp_path / JOURNAL
    text = journal.read_text(encoding="utf-8")
    journal.write_text(text.replace('"done"', '"swapping"'), encoding="utf-8")
    (tmp_path / "a.py").write_bytes(b"of another release")
    assert recover(tmp_path) == "swapping"
    assert _found(tmp_path) == {**BEFORE, "a.py": b"of another release"}


def test_what_was_compiled_follows_after_a_crash(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_bytes(b"before = 1\n")
    # Never compared with its source, as distributions compile.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    cache = Path(str(py_compile.compile(str(file), invalidation_mode=mode)))
    half = cache.with_name(f"{cache.name}.140430192281904")

    def crash(*args: object, **kwargs: object) -> None:
        half.touch()
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(py_compile, "compile", crash)
        with pytest.raises(SystemExit):
            commit(tmp_path, [Change(file, file.read_bytes(), b"after = 1\n")])
    assert b"before" in cache.read_bytes()
    assert recover(tmp_path) == "done"
    assert b"after" in cache.read_bytes()
    assert not half.exists()


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system cannot lock a directory")
    with (
        locked(tmp_path),
        pytest.raises(Refused, match="another process"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass
