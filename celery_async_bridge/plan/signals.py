"""The receivers of Celery's publish signals, who may change a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import signals

from ..core.taps import Replay, replay
from .again import Reopens
from .template import same

if TYPE_CHECKING:
    from .plan import Plan
    from .template import Blanks

__all__ = ("Message", "anybody")

_before = signals.before_task_publish
_after = signals.after_task_publish
_sent = signals.task_sent


def anybody() -> bool:
    """Whether somebody wants to know of sends."""
    return bool(_before.receivers or _after.receivers or _sent.receivers)


class Message:
    """One message as real objects, for those who look at it.

    Attributes:
        headers: its headers.
        properties: its properties.
        body: arguments, keyword arguments and what Celery adds.
        changed: a receiver changed what a template cannot express.
    """

    __slots__ = (
        "_declare",
        "_made",
        "_plan",
        "_policy",
        "blanks",
        "body",
        "changed",
        "headers",
        "properties",
    )

    def __init__(
        self, plan: Plan, given: dict[str, Any] | None, body: Any, blanks: Blanks
    ) -> None:
        assert plan.template is not None
        self._plan = plan
        self.headers = plan.template.fill_headers(blanks)
        self._made = self.headers.copy()
        if given:
            if not given.keys().isdisjoint(self._made):
                raise TypeError
            self.headers.update(given)
        self.properties = plan.template.fill_properties(blanks)
        self.body = body
        self.blanks = blanks
        self._declare = plan.published.get("declare")
        self._policy = plan.published.get("retry_policy")
        self.changed = False

    def before(self) -> None:
        """Show the message to those who want to see it before it is sent."""
        plan = self._plan
        published, known = plan.published, self.properties.copy()
        declare, policy = self._declare, self._policy
        self._declare = None if declare is None else list(declare)
        self._policy = None if policy is None else policy.copy()
        _before.send(
            sender=plan.name,
            body=self.body,
            exchange=published["exchange"],
            routing_key=published["routing_key"],
            declare=self._declare,
            headers=self.headers,
            properties=self.properties,
            retry_policy=self._policy,
        )
        self.changed = (
            not same(self.properties, known)
            or self._declare != declare
            or self._policy != policy
        )

    def text(self) -> str | None:
        """Return the envelope; None if upstream must write the message."""
        template = self._plan.template
        if self.changed or template is None:
            return None
        try:
            args, kwargs, extra = self.body
            if same(extra, template.extra):
                more = template.more(self._made, self.headers)
                if more is not None:
                    return template.line(args, kwargs, *self.blanks.basic(), more)
            return template.envelope(self.headers, self.body, self.blanks)
        except Exception:
            return None  # it says what is wrong with it, too

    def show(self) -> str | None:
        """Do `before()` and return `text()`."""
        self.before()
        return self.text()

    def after(self) -> None:
        """Tell those who want to know that the message was sent."""
        plan, headers, body = self._plan, self.headers, self.body
        if _after.receivers:
            _after.send(
                sender=plan.name,
                body=body,
                headers=headers,
                exchange=plan.published["exchange"],
                routing_key=plan.published["routing_key"],
            )
        if _sent.receivers:
            _sent.send(
                sender=plan.name,
                task_id=headers["id"],
                task=plan.name,
                args=body[0],
                kwargs=body[1],
                eta=headers["eta"],
                taskset=headers["group"],
            )

    def publish(self, producer: Any) -> Any:
        """Publish by upstream's code, without showing the message again."""
        options = {
            **self._plan.published,
            "declare": self._declare and list(self._declare),
            "retry_policy": self._policy,
        }
        return producer.publish(
            self.body, headers=self.headers, **options, **self.properties
        )

    def resume(self, failure: BaseException | None) -> None:
        """Publish by upstream's code, in a trampoline.

        Arguments:
            failure: of the first attempt; None if there was none.
        """
        with (
            self._plan.app.producer_or_acquire() as producer,
            producer.connection._reraise_as_library_errors(),
        ):
            if failure is None:
                self.publish(producer)
                return
            token = replay.set(Replay(failure))
            try:
                with Reopens(self._plan):
                    self.publish(producer)
            finally:
                replay.reset(token)
