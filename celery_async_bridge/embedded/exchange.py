"""Exchanges, their bindings, and where they send a message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import headers, topics

if TYPE_CHECKING:
    from .message import Message

__all__ = ("TYPES", "Binding", "Exchange")

Table = dict[str, Any]
#: Kind ("queue" or "exchange") and name of what a binding leads to.
Destination = tuple[str, str]


@dataclass(eq=False, slots=True)
class Binding:
    """Where messages go whose key, or headers, match.

    Attributes:
        row: where it is stored; 0 for nowhere.
    """

    to: Destination
    key: str
    arguments: Table
    words: list[str] = field(init=False)
    row: int = 0

    def __post_init__(self) -> None:
        self.words = topics.words(self.key)


def _direct(exchange: Exchange, message: Message) -> Iterator[Destination]:
    for key in message.keys:
        yield from exchange.by_key.get(key, ())


def _fanout(exchange: Exchange, message: Message) -> Iterator[Destination]:
    for bindings in exchange.by_key.values():
        yield from bindings


def _topic(exchange: Exchange, message: Message) -> Iterator[Destination]:
    for key in message.keys:
        said = topics.words(key)
        for binding in exchange.bindings:
            if topics.matches(binding.words, said):
                yield binding.to


def _headers(exchange: Exchange, message: Message) -> Iterator[Destination]:
    for binding in exchange.bindings:
        if headers.matches(binding.arguments, message.headers):
            yield binding.to


#: The routing of each type that can be declared.
TYPES: dict[str, Callable[[Exchange, Message], Iterator[Destination]]] = {
    "direct": _direct,
    "topic": _topic,
    "fanout": _fanout,
    "headers": _headers,
}


@dataclass(eq=False)
class Exchange:
    """One exchange.

    Attributes:
        arguments: of its declaration.
        bindings: what it is the source of, in order.
        by_key: the destinations by routing key.
        row: where it is stored; 0 for nowhere.
    """

    name: str
    type: str
    durable: bool = False
    auto_delete: bool = False
    internal: bool = False
    arguments: Table = field(default_factory=dict)
    bindings: list[Binding] = field(default_factory=list)
    by_key: dict[str, dict[Destination, int]] = field(default_factory=dict)
    row: int = 0

    @property
    def alternate(self) -> str | None:
        """The exchange that gets what this one cannot route."""
        return self.arguments.get("alternate-exchange")

    def find(self, to: Destination, key: str, arguments: Table) -> Binding | None:
        """Return the binding that is exactly this one."""
        for one in self.bindings:
            if one.to == to and one.key == key and one.arguments == arguments:
                return one
        return None

    def bind(self, to: Destination, key: str, arguments: Table) -> Binding | None:
        """Add a binding and return it, unless it exists."""
        if to in self.by_key.get(key, ()) and self.find(to, key, arguments):
            return None
        binding = Binding(to, key, arguments)
        self.bindings.append(binding)
        places = self.by_key.setdefault(key, {})
        places[to] = places.get(to, 0) + 1
        return binding

    def unbind(self, binding: Binding) -> None:
        """Take a binding away."""
        self.bindings.remove(binding)
        places = self.by_key[binding.key]
        places[binding.to] -= 1
        if not places[binding.to]:
            del places[binding.to]
        if not places:
            del self.by_key[binding.key]

    def route(self, message: Message) -> list[Destination]:
        """Return where a message goes, each destination once."""
        return list(dict.fromkeys(TYPES[self.type](self, message)))
