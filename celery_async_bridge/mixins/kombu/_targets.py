"""Which classes and modules of Kombu get which twins."""

from __future__ import annotations

__all__ = ("TARGETS",)

_HERE = "celery_async_bridge.mixins.kombu"

#: (upstream, ours, packages that must be importable...); a module instead of a class
#: gets functions.
TARGETS: tuple[tuple[str, ...], ...] = (
    ("kombu.common", f"{_HERE}.common"),
    ("kombu.common:QoS", f"{_HERE}.common:QoSMixin"),
    ("kombu.compat:Consumer", f"{_HERE}.compat:CompatConsumerMixin"),
    ("kombu.compat:ConsumerSet", f"{_HERE}.compat:ConsumerSetMixin"),
    ("kombu.compat:Publisher", f"{_HERE}.compat:PublisherMixin"),
    ("kombu.connection:ChannelPool", f"{_HERE}.connection_pools:ChannelPoolMixin"),
    ("kombu.connection:Connection", f"{_HERE}.connection:ConnectionMixin"),
    (
        "kombu.connection:ConnectionPool",
        f"{_HERE}.connection_pools:ConnectionPoolMixin",
    ),
    ("kombu.entity:Exchange", f"{_HERE}.entity:ExchangeMixin"),
    ("kombu.entity:Queue", f"{_HERE}.entity:QueueMixin"),
    ("kombu.entity:binding", f"{_HERE}.entity:bindingMixin"),
    ("kombu.message:Message", f"{_HERE}.message:MessageMixin"),
    ("kombu.messaging:Consumer", f"{_HERE}.messaging:ConsumerMixin"),
    ("kombu.messaging:Producer", f"{_HERE}.messaging:ProducerMixin"),
    ("kombu.messaging:_ProducerBatch", f"{_HERE}.messaging:ProducerBatchMixin"),
    ("kombu.pools", f"{_HERE}.pools"),
    ("kombu.pools:ProducerPool", f"{_HERE}.pools:ProducerPoolMixin"),
    ("kombu.resource:Resource", f"{_HERE}.resource:ResourceMixin"),
    ("kombu.simple:SimpleBase", f"{_HERE}.simple:SimpleBaseMixin"),
    ("kombu.mixins:ConsumerMixin", f"{_HERE}.mixins:ConsumerMixinMixin"),
    (
        "kombu.mixins:ConsumerProducerMixin",
        f"{_HERE}.mixins:ConsumerProducerMixinMixin",
    ),
    ("kombu.pidbox:Mailbox", f"{_HERE}.pidbox:MailboxMixin"),
    ("kombu.pidbox:Node", f"{_HERE}.pidbox:NodeMixin"),
    (
        "kombu.transport.virtual.base:AbstractChannel",
        f"{_HERE}.transport.virtual.base:AbstractChannelMixin",
    ),
    (
        "kombu.transport.virtual.base:Channel",
        f"{_HERE}.transport.virtual.base:ChannelMixin",
    ),
    ("kombu.transport.virtual.base:QoS", f"{_HERE}.transport.virtual.base:QoSMixin"),
    (
        "kombu.transport.virtual.base:Transport",
        f"{_HERE}.transport.virtual.base:TransportMixin",
    ),
    (
        "kombu.transport.redis:Channel",
        f"{_HERE}.transport.redis:ChannelMixin",
        "redis",
    ),
    (
        "kombu.transport.redis:PublishBatch",
        f"{_HERE}.transport.redis:PublishBatchMixin",
        "redis",
    ),
    (
        "kombu.transport.pyamqp:Transport",
        f"{_HERE}.transport.pyamqp:TransportMixin",
        "amqp",
    ),
    (
        "amqp.channel:Channel",
        "celery_async_bridge.mixins.amqp.channel:ChannelMixin",
        "amqp",
    ),
)
