"""What docs/how-to/django.md says, done: from an empty directory to an answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.interop.processes import ROOT
from tests.interop.web.serving import KINDS, Kind, require, serving

if TYPE_CHECKING:
    from pathlib import Path

#: Where the blocks of the guide go, in its order; the first at the end of the file.
PLACES = ("settings", "celery", "__init__", "tasks", "urls", "asgi")


def test_the_guide_for_django(tmp_path: Path) -> None:
    require("django", "uvicorn")
    guide = (ROOT / "docs" / "how-to" / "django.md").read_text(encoding="utf-8")
    beginning, _, rest = guide.partition("## With a real broker")
    command = [sys.executable, "-m", "django", "startproject", "mysite", "."]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert f"django-admin {' '.join(command[3:])}\n" in beginning
    blocks = re.findall(r"```python\n(.*?)```", beginning, re.DOTALL)
    for name, block in zip(PLACES, blocks, strict=True):
        file = tmp_path / "mysite" / f"{name}.py"
        before = file.read_text(encoding="utf-8") if name == "settings" else ""
        file.write_text(f"{before}\n{block}", encoding="utf-8")
    words = re.findall(r"```console\n(uvicorn .*?)\n```", beginning)[-1]
    kind = Kind(f"{words} --fd {{fd}}", (), KINDS["uvicorn"].ends)
    with serving(kind, str(tmp_path), tmp_path / "log", {}) as site:
        status, body = site.request("GET", "/add/2/3/")
        assert (status, json.loads(body)["found"]) == (200, [5, 5])
        site.end()
    # What changes for a real broker is there to be changed.
    for block in re.findall(r"```python\n(.*?)```", rest, re.DOTALL):
        assert block.partition(" = ")[0] in beginning
