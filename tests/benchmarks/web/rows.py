"""The rows of the table: what the view does."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("ROWS", "Row")


@dataclass(frozen=True)
class Row:
    """One view.

    Attributes:
        name: its path, and what the command line calls it.
        label: what the table calls it.
        loads: those that say something about it.
        sends: whether it sends at all.
        installs: whether the bridge is installed in its server.
    """

    name: str
    label: str
    loads: tuple[str, ...]
    sends: bool = True
    installs: bool = False


#: In the order of the table.
ROWS = {
    row.name: row
    for row in (
        Row("nothing", "nothing", ("one", "ten"), sends=False),
        Row("pause", "await sleep(), as long", ("one",), sends=False),
        Row("adelay", "await adelay()", ("one", "ten"), installs=True),
        Row("delay", "delay()", ("one",)),
        Row("thread", "await sync_to_async(delay)()", ("one", "ten")),
        Row(
            "threads",
            "await sync_to_async(delay, thread_sensitive=False)()",
            ("one", "ten"),
        ),
    )
}
