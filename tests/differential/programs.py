"""Generated programs: a topology, and what is done with it, step by step."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.differential.form import Program, Step

__all__ = ("programs",)

QUEUES = st.integers(0, 2)
EXCHANGES = st.integers(0, 2)
CHANNELS = st.integers(0, 2)
TAGS = st.integers(0, 3)
KEYS = st.sampled_from(["a", "a.b", "a.b.c", "b", ""])
PATTERNS = st.sampled_from(["a", "a.b", "*", "a.*", "#", "#.b", "a.#.c", "*.b.#", ""])
HEADERS = st.dictionaries(
    st.sampled_from(["h", "k", "x-h"]),
    st.sampled_from([1, 0, True, "v", 1.0, None]),
    max_size=2,
)
TARGETS = st.one_of(EXCHANGES, st.sampled_from(["", "amq.fanout", "missing"]))
NO = st.none()


def _often(value: Any, other: Any) -> Any:
    """Mostly the one, now and then the other."""
    return st.one_of(st.just(value), st.just(value), st.just(value), st.just(other))


def _arguments(timed: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a queue; names of queues and exchanges are still numbers."""
    return st.fixed_dictionaries(
        {},
        optional={
            "x-max-priority": st.integers(1, 3),
            "x-message-ttl": st.sampled_from([1, 100000] if timed else [0, 100000]),
            "x-dead-letter-exchange": st.sampled_from(["", "", 0, 1, "missing"]),
            "dead-letter-key": st.one_of(QUEUES, QUEUES, KEYS),
            "x-max-length": st.integers(0, 3),
            "x-max-length-bytes": st.integers(2, 12),
            "x-overflow": st.sampled_from(
                ["drop-head", "reject-publish", "reject-publish-dlx"]
            ),
            "x-single-active-consumer": st.booleans(),
            **({"x-expires": st.just(2)} if timed else {}),
        },
    ).filter(lambda one: len(one) <= 4)


def _topology(timed: bool) -> list[st.SearchStrategy[Step]]:
    kinds = st.sampled_from(["direct", "topic", "fanout", "headers"])
    modes = st.sampled_from(["all", "any", "all-with-x", "any-with-x"])
    matching = st.builds(lambda mode, table: {**table, "x-match": mode}, modes, HEADERS)
    arguments = st.one_of(st.just({}), matching)
    return [
        st.tuples(
            st.just("declare_queue"),
            CHANNELS,
            QUEUES,
            _often(False, True),  # durable
            _often(False, True),  # exclusive
            _often(False, True),  # auto-delete
            _arguments(timed),
        ),
        st.tuples(
            st.just("declare_exchange"),
            CHANNELS,
            EXCHANGES,
            kinds,
            _often(False, True),  # auto-delete
            st.one_of(NO, NO, EXCHANGES),  # alternate
        ),
        st.tuples(
            st.just("bind_queue"), CHANNELS, QUEUES, TARGETS, PATTERNS, arguments
        ),
        st.tuples(
            st.just("bind_exchange"), CHANNELS, EXCHANGES, TARGETS, PATTERNS, arguments
        ),
    ]


def _properties(timed: bool, copies: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.lists(st.one_of(KEYS, QUEUES), min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            **({"CC": keys, "BCC": keys} if copies else {}),
            "priority": st.integers(0, 5),
            "expiration": st.sampled_from(["1", "90000"] if timed else ["0", "90000"]),
            "application_headers": HEADERS,
            "delivery_mode": st.sampled_from([1, 2]),
        },
    ).filter(lambda one: len(one) <= 3)


def _traffic(timed: bool) -> list[st.SearchStrategy[Step]]:
    publish = st.tuples(
        st.just("publish"),
        CHANNELS,
        st.sampled_from(["", "", "", "", 0, 1, 2, "amq.fanout", "missing"]),
        st.one_of(QUEUES, QUEUES, KEYS),
        _properties(timed),
        _often(False, True),  # mandatory
    )
    # Without copies: how they mix with dead letters of the first ones is luck.
    burst = st.tuples(
        st.just("burst"),
        CHANNELS,
        QUEUES,
        st.integers(2, 5),
        _properties(timed, copies=False),
    )
    confirmed = st.tuples(
        st.just("publish_confirmed"),
        TARGETS,
        st.one_of(KEYS, QUEUES),
        _properties(timed),
        st.booleans(),
    )
    consume = st.tuples(
        st.just("consume"),
        CHANNELS,
        QUEUES,
        TAGS,
        _often(False, True),  # no_ack
        st.sampled_from([False] * 7 + [True]),  # exclusive
        st.sampled_from([0, 0, 1, -1]),  # priority
    )
    settle = st.tuples(
        st.sampled_from(["ack", "ack", "reject", "requeue", "nack", "nack_requeue"]),
        CHANNELS,
        st.integers(0, 4),
        _often(False, True),  # multiple
    )
    return [
        publish,
        publish,
        burst,
        burst,
        confirmed,
        consume,
        consume,
        settle,
        settle,
        settle,
        st.tuples(st.just("get"), CHANNELS, QUEUES, _often(False, True)),
        st.tuples(st.just("cancel"), TAGS),
        st.tuples(st.just("qos"), CHANNELS, st.integers(0, 3), _often(False, True)),
        st.tuples(st.just("recover"), CHANNELS),
        st.tuples(st.just("purge"), CHANNELS, QUEUES),
        st.tuples(st.just("bad_ack"), CHANNELS, st.booleans()),
    ]


def _changes() -> list[st.SearchStrategy[Step]]:
    return [
        st.tuples(
            st.just("delete_queue"),
            CHANNELS,
            QUEUES,
            st.booleans(),  # if_unused
            st.booleans(),  # if_empty
        ),
        st.tuples(st.just("delete_exchange"), CHANNELS, EXCHANGES, st.booleans()),
        st.tuples(st.just("unbind_queue"), CHANNELS, QUEUES, TARGETS, PATTERNS),
        st.tuples(st.just("close_channel"), CHANNELS),
        st.tuples(st.just("look"), CHANNELS, QUEUES),
    ]


@cache
def _parts(timed: bool) -> list[st.SearchStrategy[list[Step]]]:
    """Declarations, topology, traffic, and anything: what a program is made of."""
    # Built once: hypothesis checks each strategy that it has not seen before.
    topology = st.one_of(*_topology(timed))
    traffic = st.one_of(*_traffic(timed))
    rest = st.one_of(topology, *_changes(), *_traffic(timed))
    never = st.just(False)
    # All queues and two exchanges exist when the traffic begins: most programs would
    # do nothing but fail without them.
    queues = [
        st.tuples(
            st.just("declare_queue"),
            st.just(0),
            st.just(number),
            *(never, never, never),
            _arguments(timed),
        )
        for number in range(3)
    ]
    kinds = st.sampled_from(["direct", "topic", "fanout", "headers"])
    exchanges = [
        st.tuples(
            *(st.just("declare_exchange"), st.just(0), st.just(number), kinds),
            *(never, NO),
        )
        for number in range(2)
    ]
    return [
        st.tuples(*queues, *exchanges).map(list),
        st.lists(topology, max_size=4),
        st.lists(traffic, min_size=4, max_size=7 if timed else 12),
        st.lists(rest, max_size=3 if timed else 8),
    ]


TIMED = st.sampled_from([False] * 11 + [True])


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Draw a program."""
    timed = draw(TIMED)
    made, topology, traffic, rest = (draw(part) for part in _parts(timed))
    steps = [*made, *topology]
    # One queue is listened to from the start, and all are emptied in the end: what
    # has become of the messages must be seen.
    steps.append(("consume", 1, draw(QUEUES), 0, False, False, 0))
    steps += [*traffic, *rest, *(("drain", 0, number) for number in range(3))]
    return timed, steps
