"""docs/NEXT_STEPS.md is what the package says today."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from celery_async_bridge._tools import ledger
from celery_async_bridge._tools.needs import NEEDS, needs_of
from celery_async_bridge._tools.surface import surface

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "NEXT_STEPS.md"


def test_the_document_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger.main(["--check"]) == 0, capsys.readouterr().err


def test_check_notices_and_a_run_repairs(tmp_path: Path) -> None:
    copy = tmp_path / "NEXT_STEPS.md"
    text = DOCUMENT.read_text(encoding="utf-8")
    copy.write_text(text.replace("| `apublish` |", "| `gone` |"), encoding="utf-8")
    assert ledger.main(["--check", "--file", str(copy)]) == 1
    assert "`gone`" in copy.read_text(encoding="utf-8")
    assert ledger.main(["--file", str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == text
    assert ledger.main(["--check", "--file", str(copy)]) == 0


def test_a_missing_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"markers missing: .*ledger"):
        ledger.render("# nothing here\n")


def test_every_member_is_in_the_ledger() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    sections = dict(part.split("`\n", 1) for part in text.split("### `")[1:])
    for row in surface():
        section = sections[row.path]
        assert f"`{row.member}`" in section, row
        for name in row.twins:
            assert f"| `{name}` |" in section, row


def test_every_line_says_what_is_awaited() -> None:
    lines = [
        line.split(" | ")
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    empty = [line[:2] for line in lines if not line[2].strip(" |")]
    assert empty == []


def test_every_need_is_used_and_every_twin_has_one() -> None:
    used = {need for row in surface() if row.twins for need in needs_of(row)}
    assert used == set(NEEDS)


def test_native_names_the_schemes_of_our_drivers() -> None:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["celery_async_bridge.drivers"]
    found: dict[str, list[str]] = {"broker": [], "backend": []}
    for scheme, path in points.items():
        module, _, name = path.partition(":")
        for side in getattr(importlib.import_module(module), name)().sides:
            found[side].append(scheme)
    for side, schemes in ledger.NATIVE.items():
        assert set(schemes) <= set(found[side])


def test_the_ledger_needs_no_upstream() -> None:
    code = (
        "import sys;"
        "sys.modules['kombu'] = sys.modules['celery'] = None;"
        "from celery_async_bridge._tools.ledger import main;"
        "raise SystemExit(main(['--check']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
