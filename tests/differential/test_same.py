"""RabbitMQ and the embedded broker carry out the same programs the same way.

`BRIDGE_TEST_PROGRAMS=5000` runs more of them, `BRIDGE_TEST_SEED=7` other ones.

What is known to differ, and is not compared:

* a refusal of `basic_publish`, `basic_ack` or `basic_reject` is raised by the call
  itself, where py-amqp raises it when it next reads (the programs read at once);
* `basic_cancel` takes back what the consumer has not read yet; RabbitMQ has sent it;
* the order between the queues of one channel, and the delivery tags that follow from
  it, are a matter of luck on a server (messages are told apart by queue and order);
* where the active one of several consumers is cancelled, the next one hears at once, as
  from RabbitMQ 4; earlier ones wait for something else to happen to the queue (the
  programs make it happen);
* credit of a whole channel comes back with the message that is put back; a server
  offers the message first (no such programs are written);
* where messages of one burst die and come round to the queue of the rest, or of each
  other, in which order they meet there is a matter of luck: what differs is sent again,
  one message after the other;
* a message that somebody has rejected may expire and come round for ever, on both:
  where it is met then is a matter of luck;
* the time in `x-death`, and the names that the server makes up;
* refusals that end the connection, transactions, quorum queues and streams.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.differential.programs import programs

if TYPE_CHECKING:
    from tests.differential.form import Program
    from tests.differential.stage import Stage

PROGRAMS = int(os.environ.get("BRIDGE_TEST_PROGRAMS", "300")) // 2
SEED = os.environ.get("BRIDGE_TEST_SEED")


def _chosen(test: Callable[..., None]) -> Callable[..., None]:
    return test if SEED is None else seed(int(SEED))(test)


@pytest.mark.timeout(PROGRAMS + 120)
@_chosen
@settings(
    max_examples=PROGRAMS,
    derandomize=SEED is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(program=programs())
def test_every_program_gives_the_same(
    server: Stage, embedded: Stage, program: Program
) -> None:
    expected, found = server.run(*program), embedded.run(*program)
    if expected != found:
        # A queue of RabbitMQ counts before it takes what came before the question: a
        # server that is busy is asked again, slowly.
        expected = server.run(*program, patience=0.05)
    for step, there, here in zip(program[1], expected, found, strict=True):
        assert here == there, f"at {step}"
