"""Looks that are under way on a subscription's socket, by the tasks they are about."""

from __future__ import annotations

__all__ = ("Ask", "Asks")


class Ask:
    """One look: at what, and since when."""

    __slots__ = ("ids", "since")

    def __init__(self, ids: list[str], since: float) -> None:
        self.ids = ids
        self.since = since


class Asks:
    """The looks whose replies somebody waits for.

    A task can be in several: each who joins is looked up behind their own joining.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, list[Ask]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_id

    def add(self, ask: Ask) -> None:
        """Note that a look has begun."""
        for task_id in ask.ids:
            self._by_id.setdefault(task_id, []).append(ask)

    def drop(self, task_id: str) -> None:
        """Forget a task: nobody waits for it any more, or it is looked up elsewhere."""
        self._by_id.pop(task_id, None)

    def end(self, ask: Ask) -> list[str]:
        """Note that a look is over; return what it is still wanted for."""
        live = [id_ for id_ in ask.ids if ask in self._by_id.get(id_, ())]
        for id_ in live:
            asks = self._by_id[id_]
            asks.remove(ask)
            if not asks:
                del self._by_id[id_]
        return live

    def take_late(self, before: float) -> set[str]:
        """Drop, and return, what was asked no later than `before`."""
        late = {id_ for id_, asks in self._by_id.items() if asks[0].since <= before}
        for id_ in late:
            del self._by_id[id_]
        return late

    @property
    def oldest(self) -> float | None:
        """When the look began that has waited longest."""
        return min((asks[0].since for asks in self._by_id.values()), default=None)
