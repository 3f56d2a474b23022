"""What the comparison of tiers acts on, and how its cases are run."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kombu import Exchange, Queue
from kombu.common import Broadcast

from celery_async_bridge.testing.contract.app_stage import AppStage
from celery_async_bridge.testing.contract.case import Case
from tests import tiers

if TYPE_CHECKING:
    from celery_async_bridge.testing.contract.script import Script
    from celery_async_bridge.testing.contract.wire import Server

__all__ = ("REPEATS", "TierStage", "given", "repeated")

#: Sends of one case: a plan is learned from the first of them.
REPEATS = 3


def given(stage: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, those made of the stage's names too."""
    return {
        name: value(stage) if callable(value) else value
        for name, value in options.items()
    }


class TierStage(AppStage):
    """An app on Redis whose sends take one tier, and a subscriber to its fanouts."""

    def __init__(self, server: Server, tier: str) -> None:
        import redis

        super().__init__(server, server)
        self.tier = tier
        self.app.conf.task_queues = [*self.app.conf.task_queues, *self._queues()]
        tiers.prepare(tier, self.app)
        client: Any = redis.Redis
        self.client = client.from_url(server.url)
        self.heard: Any = self.client.pubsub(ignore_subscribe_messages=True)
        self.heard.psubscribe(f"*{self.run}*")
        # Its confirmation: from now on nothing published is missed.
        self.heard.get_message(timeout=2)

    def _queues(self) -> Iterator[Queue]:
        loud = Exchange(self.name("loud"), "fanout")
        yield Queue(self.name("loudq"), loud)
        yield Broadcast(self.name("all"), queue=self.name("allq"))
        yield Queue(self.name("short"), Exchange(self.name("short")), expires=300)
        yield Queue(self.name("ranked"), Exchange(self.name("x")), max_priority=9)
        direct = Exchange(self.name("direct"), "direct")
        yield Queue(self.name("one"), direct, routing_key="k")
        yield Queue(self.name("two"), direct, routing_key="k")

    def look(self) -> Any:
        """Return what Redis holds, and what was published to subscribers."""
        # The last thing that the subscriber hears.
        end = f"{self.run}.end"
        self.client.publish(end, b"")
        published = []
        while message := self.heard.get_message(timeout=2):
            channel, data = message["channel"].decode(), message["data"]
            if channel == end:
                break
            # Results are announced, too: a body is only there in task messages.
            if isinstance(data, bytes) and b'"body": "' in data:
                head, _, tail = data.partition(b'"body": "')
                body, _, tail = tail.partition(b'"')
                data = head + base64.b64decode(body) + tail
            published.append([channel, repr(data)])
        return {**super().look(), "published": published}

    def tidy(self) -> None:
        """Remove what the run has left."""
        super().tidy()
        self.heard.close()
        self.client.close()


def repeated(case: Case) -> Case:
    """Make a case that runs its script a few times on one app."""

    def script(stage: Any) -> Script:
        for _ in range(REPEATS):
            try:
                yield from case.script(stage)
            except Exception as exc:  # noted; the next send must fail like it
                del exc

    return Case(case.name, script, case.needs)
