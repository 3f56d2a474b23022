"""What `patches` does to the files of a site-packages directory."""

from __future__ import annotations

import json
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from celery_async_bridge.cli.patches import main
from celery_async_bridge.patching import acts, pins, receipt
from celery_async_bridge.patching.gains import PACKAGES
from celery_async_bridge.patching.making import digest
from celery_async_bridge.patching.refusal import Refused
from tests.unit.patching.packages import snapshot, untrue

ROOT = Path(__file__).parents[3]


def _run(command: str, site: Path, *options: str) -> int:
    return main([command, "--site-packages", str(site), *options])


def test_apply_and_revert(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(site)
    assert _run("check", site) == 0
    assert _run("check", site, "--patched") == 1
    assert _run("apply", site) == 0
    assert _run("check", site, "--patched") == 0
    assert not untrue(site)
    patched = snapshot(site)
    changed = {path for path in patched if patched[path] != before.get(path)}
    assert {path for path in changed if path.endswith(".py")} == _hashes(site).keys()
    assert {path: digest(patched[path][0]) for path in _hashes(site)} == _hashes(site)
    assert {path.rpartition("/")[2] for path in changed if "dist-info" in path} == {
        "RECORD",
        receipt.NAME,
    }
    capsys.readouterr()
    assert _run("apply", site) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert snapshot(site) == patched  # times included: nothing was written
    assert _run("revert", site) == 0
    assert _contents(snapshot(site)) == _contents(before)
    assert _times(snapshot(site)) == _times(before)
    assert _run("revert", site) == 0


def _hashes(site: Path) -> dict[str, str]:
    """What the pins say that the installed releases become."""
    pinned = [pins.pin_of(*info.stem.split("-")) for info in site.glob("*.dist-info")]
    return {path: file.after for pin in pinned for path, file in pin.files.items()}


def _contents(found: dict[str, tuple[bytes, int, int]]) -> dict[str, tuple[bytes, int]]:
    return {path: (data, mode) for path, (data, mode, _) in found.items()}


def _times(found: dict[str, tuple[bytes, int, int]]) -> dict[str, int]:
    return {path: time for path, (_, _, time) in found.items() if path.endswith(".py")}


def test_the_diffs_do_the_same_to_git(site: Path, tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    if not (ROOT / "patches").is_dir():
        pytest.skip("the diffs are not here: this is not a checkout")
    mine = shutil.copytree(site, tmp_path / "mine")
    assert _run("apply", mine) == 0
    wanted = {name: data for name, (data, _, _) in snapshot(mine).items()}
    files = [
        str(file)
        for info in site.glob("*.dist-info")
        for file in (ROOT / "patches" / info.stem.replace("-", "/", 1)).rglob("*.patch")
    ]
    subprocess.run([git, "apply", "--unidiff-zero", *files], cwd=site, check=True)
    for name, (data, _, _) in snapshot(site).items():
        if name.endswith(".py"):
            assert data == wanted[name], name
    # What git has patched is known; only the lists of files are missing.
    assert _run("check", site, "--patched") == 0
    assert untrue(site)
    assert _run("apply", site) == 0
    assert not untrue(site)
    assert _run("revert", site) == 0
    assert not untrue(site)


def test_what_is_not_as_released_is_refused(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = site / "celery" / "result.py"
    file.write_bytes(file.read_bytes() + b"\n")
    before = snapshot(site)
    for command in ("check", "apply", "make"):
        assert _run(command, site) == 1
        assert "--force-reinstall" in capsys.readouterr().err
    assert snapshot(site) == before


def test_a_release_that_is_not_pinned_is_refused(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = next(site.glob("kombu-*.dist-info"))
    text = (info / "METADATA").read_text(encoding="utf-8")
    version = info.stem.partition("-")[2]
    other = text.replace(f"\nVersion: {version}\n", "\nVersion: 5.5.0\n")
    (info / "METADATA").write_text(other, encoding="utf-8")
    before = snapshot(site)
    assert _run("apply", site) == 1
    error = capsys.readouterr().err
    assert "kombu 5.5.0 cannot be patched" in error
    assert version in error
    assert snapshot(site) == before


def test_a_release_under_a_wrong_number_is_refused(site: Path) -> None:
    info = next(site.glob("kombu-*.dist-info"))
    version = info.stem.partition("-")[2]
    other = next(name for name in pins.released("kombu") if name != version)
    text = (info / "METADATA").read_text(encoding="utf-8")
    (info / "METADATA").write_text(
        text.replace(f"\nVersion: {version}\n", f"\nVersion: {other}\n"),
        encoding="utf-8",
    )
    before = snapshot(site)
    with pytest.raises(Refused, match="not as released"):
        acts.apply(site)
    assert snapshot(site) == before


def test_what_was_changed_after_it_was_patched_is_left_alone(site: Path) -> None:
    acts.apply(site)
    file = site / "kombu" / "pools.py"
    file.write_bytes(file.read_bytes() + b"x = 1\n")
    before = snapshot(site)
    for act in (acts.apply, acts.revert):
        with pytest.raises(Refused, match=r"kombu/pools\.py was changed"):
            act(site)
    assert snapshot(site) == before


def test_a_package_that_was_installed_again_is_patched_again(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = shutil.copytree(site, tmp_path / "clean")
    acts.apply(site)
    for name in ("kombu", *(path.name for path in site.glob("kombu-*.dist-info"))):
        shutil.rmtree(site / name)
        shutil.copytree(clean / name, site / name)
    assert _run("check", site, "--patched") == 1
    assert "kombu" in capsys.readouterr().out
    acts.apply(site)
    assert _run("check", site, "--patched") == 0
    acts.revert(site)
    assert _contents(snapshot(site)) == _contents(snapshot(clean))


def test_the_patch_of_another_release_of_the_bridge_is_replaced(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(site)
    acts.apply(site)
    wanted = snapshot(site)
    # As an earlier one would have left it: with fewer twins in one file, and another
    # file that got some.
    note = next(site.glob("kombu-*.dist-info")) / receipt.NAME
    data = json.loads(note.read_text(encoding="utf-8"))
    for entry in data["entries"]:
        if entry["path"] == "kombu/pools.py":
            file = site / entry["path"]
            start, length = entry["places"][-1]
            put = sum(n for _, n in entry["places"][:-1])
            lines = file.read_bytes().splitlines(keepends=True)
            del lines[start + put + length - 1]
            file.write_bytes(b"".join(lines))
            entry["places"][-1] = [start, length - 1]
            entry["after"] = digest(file.read_bytes())
    note.write_text(json.dumps(data), encoding="utf-8")
    assert _run("check", site) == 0
    assert "another release" in capsys.readouterr().out
    acts.apply(site)
    assert {name: one[0] for name, one in snapshot(site).items()} == {
        name: one[0] for name, one in wanted.items()
    }
    acts.revert(site)
    assert _contents(snapshot(site)) == _contents(before)


def test_compiled_forms_follow(site: Path) -> None:
    file = site / "kombu" / "pools.py"
    cache = py_compile.compile(
        str(file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    assert cache is not None
    before = Path(cache).read_bytes()
    foreign = Path(cache).with_name("pools.cpython-27.pyc")
    foreign.write_bytes(b"other")
    acts.apply(site)
    assert Path(cache).read_bytes() != before
    assert b"aset_limit" in Path(cache).read_bytes()
    assert not foreign.exists()
    acts.revert(site)
    assert b"aset_limit" not in Path(cache).read_bytes()


# Dies at the n-th rename, as if the machine had.
_CRASH = """
import os, sys
from celery_async_bridge.cli.patches import main

left, original = [int(sys.argv[1])], os.replace

def replace(old, new):
    left[0] -= 1
    if left[0] < 0:
        os._exit(9)
    original(old, new)

os.replace = replace
main(["apply", "--site-packages", sys.argv[2]])
"""


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_the_next_run_puts_a_crash_in_order(
    site: Path, act: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(site)
    command = [sys.executable, "-c", _CRASH, "17", str(site)]
    assert subprocess.run(command, check=False).returncode == 9
    half = snapshot(site)
    assert half["amqp/channel.py"] != before["amqp/channel.py"]
    assert half["celery/result.py"] == before["celery/result.py"]
    assert _run("check", site) == 1
    assert "was interrupted" in capsys.readouterr().err
    assert snapshot(site) == half
    assert _run(act, site) == 0
    if act == "apply":
        assert _run("check", site, "--patched") == 0
        assert _run("revert", site) == 0
    assert _contents(snapshot(site)) == _contents(before)


def test_an_incomplete_directory_is_refused(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apply", "--site-packages", str(tmp_path / "none")]) == 1
    assert "no directory" in capsys.readouterr().err
    shutil.rmtree(next(site.glob("celery-*.dist-info")))
    before = snapshot(site)
    assert _run("apply", site) == 1
    assert "celery is not installed" in capsys.readouterr().err
    assert snapshot(site) == before


def test_an_editable_installation_is_refused(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(site / "kombu")
    assert _run("apply", site) == 1
    assert "plain installation" in capsys.readouterr().err


def test_make_prints_the_diffs(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("make", site) == 0
    bare = capsys.readouterr().out
    assert all(
        line.startswith(("+", "---", "@@")) for line in bare.splitlines()
    )  # no line of upstream's
    assert _run("make", site, "--context", "3") == 0
    assert capsys.readouterr().out != bare
    acts.apply(site)
    assert _run("make", site, "--output", str(tmp_path / "out")) == 0
    texts = [path.read_text(encoding="utf-8") for path in _patches(tmp_path / "out")]
    assert "".join(sorted(texts)) == "".join(sorted(_split(bare)))


def _patches(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.patch"))


def _split(text: str) -> list[str]:
    return [f"--- {part}" for part in text.split("--- ")[1:]]


def test_nothing_of_upstream_is_imported() -> None:
    code = (
        "import sys\n"
        "from celery_async_bridge.__main__ import main\n"
        "assert main(['patches', 'check', '--site-packages', '.']) == 1\n"
        f"assert not {set(PACKAGES)!r} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "docs", check=True)
