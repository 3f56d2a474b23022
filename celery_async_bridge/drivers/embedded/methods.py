"""AMQP's methods as py-amqp writes them, and what the broker does for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from amqp import spec

if TYPE_CHECKING:
    from ...embedded.channel import Channel

__all__ = ("ASKS", "METHODS")


def _exchange_declare(
    at: Channel,
    _: int,
    name: str,
    kind: str,
    passive: bool,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    nowait: bool,
    arguments: Any,
) -> tuple[Any, ...]:
    at.broker.declare_exchange(
        name,
        kind,
        passive=passive,
        durable=durable,
        auto_delete=auto_delete,
        internal=internal,
        arguments=arguments,
    )
    return ()


def _exchange_delete(
    at: Channel, _: int, name: str, if_unused: bool, nowait: bool
) -> tuple[Any, ...]:
    at.broker.delete_exchange(name, if_unused)
    return ()


def _exchange_bind(
    at: Channel, _: int, to: str, source: str, key: str, nowait: bool, arguments: Any
) -> tuple[Any, ...]:
    at.broker.bind(("exchange", to), source, key, arguments)
    return ()


def _exchange_unbind(
    at: Channel, _: int, to: str, source: str, key: str, nowait: bool, arguments: Any
) -> tuple[Any, ...]:
    at.broker.unbind(("exchange", to), source, key, arguments)
    return ()


def _queue_declare(
    at: Channel,
    _: int,
    name: str,
    passive: bool,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    nowait: bool,
    arguments: Any,
) -> tuple[Any, ...]:
    queue = at.broker.declare_queue(
        name or (at.last_queue if passive else ""),
        at.session,
        passive=passive,
        durable=durable,
        exclusive=exclusive,
        auto_delete=auto_delete,
        arguments=arguments,
    )
    at.last_queue = queue.name
    return queue.name, queue.ready.length, len(queue.rota)


def _named(at: Channel, name: str) -> tuple[str, str]:
    return "queue", name or at.queue("").name


def _queue_bind(
    at: Channel, _: int, name: str, source: str, key: str, nowait: bool, arguments: Any
) -> tuple[Any, ...]:
    at.broker.bind(_named(at, name), source, key, arguments, at.session)
    return ()


def _queue_unbind(
    at: Channel, _: int, name: str, source: str, key: str, arguments: Any
) -> tuple[Any, ...]:
    at.broker.unbind(_named(at, name), source, key, arguments, at.session)
    return ()


def _queue_delete(
    at: Channel, _: int, name: str, if_unused: bool, if_empty: bool, nowait: bool
) -> tuple[Any, ...]:
    name = name or at.queue("").name
    return (at.broker.delete_queue(name, at.session, if_unused, if_empty),)


def _queue_purge(at: Channel, _: int, name: str, nowait: bool) -> tuple[Any, ...]:
    return (at.queue(name).purge(),)


def _qos(at: Channel, size: int, count: int, shared: bool) -> tuple[Any, ...]:
    at.qos(size, count, shared)
    return ()


def _consume(
    at: Channel,
    _: int,
    name: str,
    tag: str,
    no_local: bool,
    no_ack: bool,
    exclusive: bool,
    nowait: bool,
    arguments: Any,
) -> tuple[Any, ...]:
    tag = at.consume(name, tag, no_ack=no_ack, exclusive=exclusive, arguments=arguments)
    return (tag,)


def _cancel(at: Channel, tag: str, nowait: bool) -> tuple[Any, ...]:
    at.cancel(tag)
    return (tag,)


def _ack(at: Channel, tag: int, multiple: bool) -> tuple[Any, ...]:
    at.ack(tag, multiple)
    return ()


def _reject(at: Channel, tag: int, requeue: bool) -> tuple[Any, ...]:
    at.reject(tag, multiple=False, requeue=requeue)
    return ()


def _nack(at: Channel, tag: int, multiple: bool, requeue: bool) -> tuple[Any, ...]:
    at.reject(tag, multiple, requeue)
    return ()


def _recover(at: Channel, requeue: bool) -> tuple[Any, ...]:
    at.recover(requeue)
    return ()


def _confirm(at: Channel, nowait: bool) -> tuple[Any, ...]:
    at.select_confirms()
    return ()


def _close(at: Channel, *why: Any) -> tuple[Any, ...]:
    at.close()
    return ()


#: What is not answered before it is on the disk; an acknowledgement that is lost only
#: brings its message back.
ASKS = frozenset(
    {
        spec.Basic.Publish,
        spec.Exchange.Declare,
        spec.Exchange.Delete,
        spec.Exchange.Bind,
        spec.Exchange.Unbind,
        spec.Queue.Declare,
        spec.Queue.Bind,
        spec.Queue.Unbind,
        spec.Queue.Delete,
        spec.Queue.Purge,
    }
)

#: By class and method id; each gives the arguments of the answer.
METHODS: dict[tuple[int, int], Callable[..., tuple[Any, ...]]] = {
    spec.Channel.Close: _close,
    spec.Exchange.Declare: _exchange_declare,
    spec.Exchange.Delete: _exchange_delete,
    spec.Exchange.Bind: _exchange_bind,
    spec.Exchange.Unbind: _exchange_unbind,
    spec.Queue.Declare: _queue_declare,
    spec.Queue.Bind: _queue_bind,
    spec.Queue.Unbind: _queue_unbind,
    spec.Queue.Delete: _queue_delete,
    spec.Queue.Purge: _queue_purge,
    spec.Basic.Qos: _qos,
    spec.Basic.Consume: _consume,
    spec.Basic.Cancel: _cancel,
    spec.Basic.Ack: _ack,
    spec.Basic.Reject: _reject,
    spec.Basic.Nack: _nack,
    spec.Basic.Recover: _recover,
    spec.Basic.RecoverAsync: _recover,
    spec.Confirm.Select: _confirm,
}
