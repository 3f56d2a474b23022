"""Learning a plan from a send that upstream's code makes, and proving it by another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..core.mask import mask
from ..core.taps import recorder
from .guards import Guard, Refusal, watch_sender
from .named import Named
from .plan import LEARNED, READY, Plan
from .reprs import short_repr
from .template import Blanks, Template, cut, encode

__all__ = ("Call", "Lesson")

#: What upstream gives to `Producer.publish` besides the properties of the message.
_FIXED = frozenset(
    {
        "compression",
        "confirm_timeout",
        "declare",
        "delivery_mode",
        "exchange",
        "headers",
        "retry",
        "retry_policy",
        "routing_key",
        "serializer",
        "timeout",
    }
)
#: Properties that routes may add.
_ROUTED = frozenset({"correlation_id", "reply_to", "priority", "expiration"})
_TIMES = ("eta", "expires")
#: Seconds of a send without a deadline.
FOREVER = 1e8


@dataclass(slots=True)
class Call:
    """One send by upstream's code.

    Attributes:
        task: the task, or what stands for one of which the name is known.
        app: its app.
        name: its name.
        args: its positional arguments.
        kwargs: its keyword arguments.
        options: the options of the send.
        parent: the task that runs here, or None.
    """

    task: Any
    app: Any
    name: str
    args: Any
    kwargs: Any
    options: Mapping[str, Any]
    parent: Any = None

    @property
    def merged(self) -> dict[str, Any]:
        """The options together with those of the task."""
        merged = {**self.task._get_exec_options(), **self.options}
        if not isinstance(self.task, Named):
            merged.setdefault("ignore_result", self.task.ignore_result)
        return merged

    def message(self, task_id: str, root_id: str, parent_id: str | None) -> Any:
        """Return the message that upstream makes of this call."""
        from kombu.utils.functional import maybe_list

        given = self.merged
        return self.app.amqp.create_task_message(
            task_id,
            self.name,
            self.args,
            self.kwargs,
            countdown=given.get("countdown"),
            eta=given.get("eta"),
            expires=given.get("expires"),
            callbacks=maybe_list(given.get("link")),
            errbacks=maybe_list(given.get("link_error")),
            reply_to=self.app.thread_oid,
            time_limit=given.get("time_limit"),
            soft_time_limit=given.get("soft_time_limit"),
            root_id=root_id,
            parent_id=parent_id,
            shadow=given.get("shadow") or None,
            ignore_result=given.get("ignore_result"),
        )


@dataclass(slots=True)
class Lesson:
    """A send by upstream's code, watched on its way.

    Calling it sends; afterwards `teach` makes of it what can be made.

    Attributes:
        call: the send.
        guard: what a plan for it rests on.
        result: what upstream returned.
    """

    call: Call
    guard: Guard
    result: Any = None
    _refused: str = ""
    _publishes: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    _writes: list[tuple[Any, list[tuple[Any, ...]]]] = field(default_factory=list)

    def __call__(self) -> Any:
        """Send, in a trampoline."""
        call = self.call
        with call.app.producer_or_acquire() as producer:
            # Timers of the connection keep the context that they were made in, so what
            # is in there must not refer to the app.
            token = recorder.set(partial(_note, self._writes, recorder.get()))
            # On the instance: nobody else has this producer now.
            producer.__dict__["publish"] = self._publisher(producer)
            try:
                self.result = call.task.apply_async(
                    call.args, call.kwargs, producer=producer, **call.options
                )
            finally:
                producer.__dict__.pop("publish", None)
                recorder.reset(token)
        return self.result

    def _publisher(self, producer: Any) -> Callable[..., Any]:
        publish = type(producer).publish

        def publisher(body: Any, **options: Any) -> Any:
            kept = {
                name: value.copy() if isinstance(value, (dict, list)) else value
                for name, value in options.items()
            }
            self._publishes.append((body, kept))
            value = publish(producer, body, **options)
            # Only now: to look at the channel of one that failed would reconnect it.
            if self.guard is not None:
                self._rest_on(producer, kept)
            return value

        return publisher

    def _rest_on(self, producer: Any, options: Mapping[str, Any]) -> None:
        queues = self.call.app.amqp.queues
        try:
            watch_sender(self.guard, producer, queues, options.get("declare"))
        except Exception as exc:
            self._refused = str(exc) or type(exc).__name__

    # -- what it teaches --------------------------------------------------------------

    def teach(self, plan: Plan, *, receivers: bool) -> None:
        """Bring the plan one step further, or refuse it.

        Arguments:
            plan: the plan of the shape of this send.
            receivers: whether somebody could change the message on its way.
        """
        try:
            mux, template, published = self._study(receivers)
        except Refusal as exc:
            plan.refuse(str(exc))
            return
        except Exception as exc:
            # The message is on its way; not to understand it is no reason to fail.
            plan.refuse(f"not understood: {type(exc).__name__}: {exc}")
            return
        if plan.state in (LEARNED, READY):
            known = plan.template
            if (
                known is None
                or known != template
                or (not receivers and known.parts != template.parts)
                or plan.published != published
            ):
                plan.refuse("two sends of the same shape differ in more than the task")
                return
            plan.state = READY
        else:
            plan.state = LEARNED
            plan.template, plan.published = template, published
        conf, amqp = self.call.app.conf, self.call.app.amqp
        plan.ignored = self.result.ignored
        plan.levels = conf.get("task_repr_maxlevels", 3)
        plan.sizes = (amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize)
        seconds = conf.get("async_publish_timeout", 10.0)
        plan.seconds = FOREVER if seconds is None else seconds
        headers = self._publishes[0][1]["headers"]
        plan.live = plan.live or any(headers[name] for name in _TIMES)
        plan.label = mask(conf.broker_write_url or conf.broker_url)
        plan.server = self.call.task._bridge_send_route({}).endpoints[0].key
        plan.app, plan.name = self.call.app, self.call.name
        plan.embed = dict(self._publishes[0][0][2], callbacks=None, errbacks=None)
        plan.guard = self.guard
        plan.open_line(mux)

    def _pushed(self) -> tuple[Any, Any, Any]:
        found = [
            (mux, command, len(commands))
            for mux, commands in self._writes
            for command in commands
            if command[0] in ("LPUSH", "RPUSH", "PUBLISH", "PEXPIRE")
        ]
        if len(found) != 1:
            raise Refusal("the send is not one LPUSH")
        mux, command, together = found[0]
        if command[0] != "LPUSH" or len(command) != 3 or together != 1:
            raise Refusal("the send is not one LPUSH")
        return mux, command[1], command[2]

    def _study(self, receivers: bool) -> tuple[Any, Template, dict[str, Any]]:
        if self._refused:
            raise Refusal(self._refused)
        if len(self._publishes) != 1:
            raise Refusal("the send did not publish once")
        if self._publishes[0][1].get("serializer") != "json":
            raise Refusal("the serializer is not json")
        expires = self.call.merged.get("expires")
        if isinstance(expires, (int, float)) and expires < 0:
            raise Refusal("Celery warns of each send that has expired already")
        if self._publishes[0][1].get("exchange"):
            # Whoever binds a queue to it may be another process.
            raise Refusal("the bindings of an exchange are looked up for each send")
        mux, key, payload = self._pushed()
        call, options = self.call, self._publishes[0][1]
        headers = options["headers"]
        task_id, tag = str(headers["id"]), ""
        message = call.message(task_id, headers["root_id"], headers["parent_id"])
        properties = {k: v for k, v in options.items() if k not in _FIXED}
        self._compare(message, headers, properties, receivers)
        if receivers:
            self._check_untouched(options)
        template = cut(key, payload, message.headers, properties, message.body)
        if isinstance(template, str):
            raise Refusal(template)
        tag = _tag_of(payload)
        blanks = Blanks(
            task_id=task_id,
            root_id=headers["root_id"],
            parent_id=headers["parent_id"],
            args_text=self._text(0, message.body[0]),
            kwargs_text=self._text(1, message.body[1]),
            reply_to=call.app.thread_oid,
            tag=tag,
            eta=headers["eta"],
            expires=headers["expires"],
        )
        made = template.fill_headers(blanks)
        written = {**made, **{k: v for k, v in headers.items() if k not in made}}
        text = template.envelope(written, message.body, blanks)
        lines = {text}
        links = message.body[2]["callbacks"] or message.body[2]["errbacks"]
        more = None if links else template.more(made, written)
        if more is not None:
            args, kwargs, _ = message.body
            lines.add(template.line(args, kwargs, *blanks.basic(), more))
        if lines != {payload.decode() if isinstance(payload, bytes) else payload}:
            raise Refusal("the plan writes other bytes than upstream")
        published = {k: options[k] for k in options if k in _FIXED and k != "headers"}
        return mux, template, published

    def _text(self, place: int, value: Any) -> str:
        amqp = self.call.app.amqp
        size = (amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize)[place]
        levels = self.call.app.conf.get("task_repr_maxlevels", 3)
        return short_repr(value, size, levels)

    def _check_untouched(self, options: Mapping[str, Any]) -> None:
        """Refuse what receivers may have changed in place: it is learned from."""
        app, declared = self.call.app, options.get("declare")
        if options.get("retry_policy") != app.conf.task_publish_retry_policy:
            raise Refusal("a receiver changed the retry policy")
        if declared is not None and (
            len(declared) != 1
            or dict.get(app.amqp.queues, declared[0].name) is not declared[0]
        ):
            raise Refusal("a receiver changed what is declared")

    def _compare(
        self,
        message: Any,
        headers: Mapping[str, Any],
        properties: Mapping[str, Any],
        receivers: bool,
    ) -> None:
        """Refuse what is not the message that upstream makes, as far as it is known."""
        call = self.call
        given = call.options.get("headers") or {}
        if not given.keys().isdisjoint(message.headers):
            raise Refusal("the headers given replace some of the message's")
        for name, value in message.headers.items():
            found = headers.get(name)
            same = bool(found) == bool(value) if name in _TIMES else found == value
            if not same:
                raise Refusal(f"the header {name} is not the one that Celery makes")
        extra = headers.keys() - message.headers.keys() - given.keys()
        if extra and not receivers:
            raise Refusal("the message has headers of unknown origin")
        unknown = properties.keys() - _ROUTED - call.merged.keys()
        if unknown or properties.get("correlation_id") != headers["id"]:
            raise Refusal("the message has properties of unknown origin")
        if properties.get("reply_to") != call.app.thread_oid:
            raise Refusal("the reply goes somewhere else")
        if encode(message.body) != encode(self._publishes[0][0]):
            raise Refusal("the body is not the one that Celery makes")


def _note(
    writes: list[Any], outer: Any, mux: Any, commands: list[tuple[Any, ...]]
) -> None:
    writes.append((mux, commands))
    if outer is not None:
        outer(mux, commands)


def _tag_of(payload: Any) -> str:
    from kombu.utils.json import loads

    return str(loads(payload, object_hook=None)["properties"]["delivery_tag"])
