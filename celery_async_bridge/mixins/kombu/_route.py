"""Routes of Kombu objects: which broker, and what two threads must not share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...core.mask import mask
from ...core.route import DEADLINE, Endpoint, Expired, Route

__all__ = (
    "LOCAL",
    "bound_route",
    "broker_of",
    "connection_of",
    "route_of",
    "scheme_of",
)


def _expired(expired: Expired) -> BaseException:
    from ...errors import publish_timeout

    return publish_timeout(expired)


#: For objects that are not bound to any broker: the sync twin raises at once.
LOCAL = Route(endpoints=(Endpoint("broker", "local", "local", "an unbound entity"),))


def scheme_of(connection: Any) -> str:
    """Return what selects the driver of a Kombu connection."""
    scheme = connection.transport_cls
    if not isinstance(scheme, str):
        scheme = getattr(scheme, "driver_type", None) or "custom"
    return str(scheme).lower()


def broker_of(connection: Any) -> Endpoint:
    """Describe the broker that a Kombu connection points at."""
    scheme = scheme_of(connection)
    host = connection.hostname or "localhost"
    key = (
        scheme,
        ";".join(connection.alt) if connection.alt else host,
        connection.port,
        connection.userid,
        connection.virtual_host,
    )
    return Endpoint("broker", scheme, key, _label(scheme, host, key[1]), connection)


@lru_cache(maxsize=64)
def _label(scheme: str, host: str, hosts: str) -> str:
    # Every call asks for it, and there are few brokers.
    return mask(hosts) if "://" in hosts else f"{scheme}://{mask(host)}"


def route_of(
    connection: Any, deadline: float | None = DEADLINE, *, reentrant: bool = False
) -> Route:
    """Route of a call on a Kombu connection or on something bound to it.

    One thread at a time: py-amqp's connections and the virtual channels are not
    thread-safe.
    """
    if connection is None:
        return LOCAL
    return Route(
        endpoints=(broker_of(connection),),
        guard=connection,
        reentrant=reentrant,
        deadline=deadline,
        expired=_expired,
    )


def connection_of(channel: Any) -> Any:
    """Return the Kombu connection of a channel or connection, or None.

    Nothing is connected to find out: a channel that is still a promise knows its
    connection only once it has been kept.
    """
    if channel is None:
        return None
    if hasattr(channel, "transport_cls"):
        return channel
    if hasattr(channel, "__contract__"):
        kept = vars(channel).get("__value__")
        if kept is None:
            # `Producer.revive` promises the default channel of a connection.
            owner = _promiser(channel.__contract__)
            return owner if hasattr(owner, "transport_cls") else None
        channel = kept
    return getattr(getattr(channel, "connection", None), "client", None)


def _promiser(contract: Any) -> Any:
    names = getattr(getattr(contract, "__code__", None), "co_freevars", ())
    if "connection" not in names:
        return None
    return contract.__closure__[names.index("connection")].cell_contents


def bound_route(channel: Any, deadline: float | None = DEADLINE) -> Route:
    """Route of a call on an entity that is bound to a channel, or to none."""
    return route_of(connection_of(channel), deadline)
