"""How the routing keys of topic exchanges match."""

from __future__ import annotations

__all__ = ("matches", "words")


def words(key: str) -> list[str]:
    """Split a key or a pattern; the empty one has no words at all."""
    return key.split(".") if key else []


def matches(pattern: list[str], key: list[str]) -> bool:
    """Whether a key has a pattern's words: `*` is one, `#` any number."""
    # The set of places in the pattern that can be reached, word by word.
    here = _beyond(pattern, {0})
    for word in key:
        then = set()
        for place in here:
            if place < len(pattern):
                if pattern[place] == "#":
                    then.add(place)
                elif pattern[place] in ("*", word):
                    then.add(place + 1)
        here = _beyond(pattern, then)
        if not here:
            return False
    return len(pattern) in here


def _beyond(pattern: list[str], places: set[int]) -> set[int]:
    found = set(places)
    for place in places:
        while place < len(pattern) and pattern[place] == "#":
            place += 1
            found.add(place)
    return found
