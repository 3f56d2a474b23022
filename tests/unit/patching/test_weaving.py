"""Lines go where `ast` says, and come out again."""

from __future__ import annotations

import ast

import pytest

from celery_async_bridge.patching import record
from celery_async_bridge.patching.diff import bare
from celery_async_bridge.patching.gains import Gain
from celery_async_bridge.patching.reading import Sources
from celery_async_bridge.patching.refusal import Refused
from celery_async_bridge.patching.weaving import Hunk, added, unweave, weave

_OURS = "celery_async_bridge.mixins.kombu"
ACK = Gain("up", "Message", f"{_OURS}.message", "MessageMixin", ("aack", "areject"))
POOLS = Gain("up", "", f"{_OURS}.pools", "", ("areset",))

# A string that looks like the class, a class of the same name in a function, a form
# feed (a line's end to `str.splitlines`, not to Python), and two real classes.
FILE = b'''"""A module.

class Message:
    no class.
"""
from __future__ import annotations
import os
\x0c
if os.name:
    import json


def f():
    class Message:
        pass


class Message:
    """Text.\x0c"""

    def ack(self):
        return """
end
"""
    # The last words of the class.


class Other:
    def ack(self): ...
'''


def _woven(text: bytes, *gains: Gain) -> tuple[bytes, list[Hunk]]:
    return weave(text, ast.parse(text), gains)


def test_lines_go_to_the_class_and_below_the_imports() -> None:
    after, hunks = _woven(FILE, ACK, POOLS)
    tree = ast.parse(after)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    message, other = classes
    names = [ast.unparse(node).split(" = ")[0] for node in message.body[2:]]
    assert names == ["aack", "areject"]
    assert len(other.body) == 1
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert [node.module for node in imports] == [
        "__future__",
        f"{_OURS}.message",
        f"{_OURS}.pools",
        "celery_async_bridge.patching.twin",
    ]
    assert [alias.name for alias in imports[2].names] == ["areset"]
    assert hunks[0].after == 7
    # What was there is there, in order.
    kept = iter(after.splitlines(keepends=True))
    assert all(line in kept for line in FILE.splitlines(keepends=True))


def test_lines_come_out_again() -> None:
    after, hunks = _woven(FILE, ACK, POOLS)
    places = [(hunk.after, len(hunk.lines)) for hunk in hunks]
    assert unweave(after, places) == FILE
    assert unweave(after, reversed(places)) == FILE


def test_the_diff_says_the_same() -> None:
    after, hunks = _woven(FILE, ACK)
    lines = bare("up.py", hunks).splitlines()
    assert lines[:2] == ["--- a/up.py", "+++ b/up.py"]
    body = [line[1:] for line in lines[2:] if line.startswith("+")]
    assert sorted(body) == sorted(added([ACK]))
    patched = after.decode().split("\n")
    for line in lines[2:]:
        if line.startswith("@@"):
            start, length = map(int, line.split()[2][1:].split(","))
            part, body = body[:length], body[length:]
            assert patched[start - 1 :][:length] == part


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (FILE.replace(b"\n", b"\r\n"), "line ends"),
        (FILE.rstrip(), "line ends"),
        (FILE + b"_twin = 1\n", "names of ours"),
        (FILE + b"def g(_MessageMixin): ...\n", "names of ours"),
        (b"class Message: pass\n", "one line"),
        (b"x = 1\n", "no class"),
    ],
)
def test_other_forms_are_refused(text: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        _woven(text, ACK)


# -- what classes define, read off their source --------------------------------

MODULES = {
    "kombu/__init__.py": b"",
    "kombu/low.py": b"""
import threading
from collections import UserDict
try:
    from . import base as kbase
    from .base import Root as R
except ImportError:
    R = object
class A(R):
    if True:
        x = y = 1
    z: int
    def a(self): inner = 1
    (p, [q, *rest]) = 1, [2, 3]
class B(kbase.Root, dict): ...
class C(A, threading.Thread): ...
class D(UserDict): ...
class E(kbase.passed_on): ...
class F(unknown.Thing): ...
class G(R2): ...
""",
    "kombu/base.py": b"""
from kombu.far import Far as passed_on
class Root:
    async def root(self): ...
""",
    "kombu/far/__init__.py": b"class Far:\n    far = 1\n",
}


def test_names_are_those_of_the_class_and_its_bases() -> None:
    sources = Sources(MODULES.get)
    assert sources.names("kombu.low", "A") == {*"axypq", "rest", "root"}
    assert {"root", "setdefault"} <= sources.names("kombu.low", "B")
    assert {"root", "a", "start"} <= sources.names("kombu.low", "C")
    assert {"get", "copy"} <= sources.names("kombu.low", "D")
    assert sources.names("kombu.low", "E") == {"far"}
    assert {"A", "R", "kbase", "threading"} <= sources.names("kombu.low", "")
    assert not sources.has("kombu.low", "Z")
    assert not sources.has("kombu.none", "")


@pytest.mark.parametrize("name", ["F", "G", "Z"])
def test_a_base_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        Sources(MODULES.get).names("kombu.low", name)


# -- RECORD --------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_record_changes_and_is_restored(end: str, last: bool) -> None:
    rows = ["a.py,sha256=old,3", '"b,c.py",sha256=old,4', "d.pyc,,", "RECORD,,"]
    before = end.join([*rows, *([""] if last else [])]).encode()
    files = {"a.py": b"new", "b,c.py": b"new", "none.py": b"new"}
    after, kept = record.updated(before, files, {"note": b"x"})
    text = after.decode().split(end)
    hashed = "sha256=EVB6Di9eadXfpApiob17buV-a82FxnybhDGzb_8hxDc"
    assert f"a.py,{hashed},3" in text
    assert f'"b,c.py",{hashed},3' in text
    assert text[-2 if last else -1] == "RECORD,,"
    assert any(row.startswith("note,sha256=") for row in text)
    assert record.restored(after, kept, "note") == before
