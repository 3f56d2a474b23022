"""Which class of Celery gets which mixin.

A third element names a module that must be importable.
"""

from __future__ import annotations

__all__ = ("TARGETS",)

_HERE = "celery_async_bridge.mixins.celery"

TARGETS: tuple[tuple[str, ...], ...] = (
    ("celery.app.base:Celery", f"{_HERE}.app.base:CeleryMixin"),
    ("celery.app.amqp:AMQP", f"{_HERE}.app.amqp:AMQPMixin"),
    ("celery.app.task:Task", f"{_HERE}.app.task:TaskMixin"),
    ("celery.app.control:Control", f"{_HERE}.app.control:ControlMixin"),
    ("celery.app.control:Inspect", f"{_HERE}.app.inspect:InspectMixin"),
    ("celery.app.events:Events", f"{_HERE}.app.events:EventsMixin"),
    ("celery.app.trace", f"{_HERE}.app.trace"),
    ("celery.app.trace:TraceInfo", f"{_HERE}.app.trace:TraceInfoMixin"),
    ("celery.canvas:Signature", f"{_HERE}.canvas:SignatureMixin"),
    ("celery.canvas:_chain", f"{_HERE}.canvas:ChainMixin"),
    ("celery.canvas:_basemap", f"{_HERE}.canvas:BaseMapMixin"),
    ("celery.canvas:chunks", f"{_HERE}.canvas:ChunksMixin"),
    ("celery.canvas:group", f"{_HERE}.canvas:GroupMixin"),
    ("celery.canvas:_chord", f"{_HERE}.canvas:ChordMixin"),
    (
        "celery.events.dispatcher:EventDispatcher",
        f"{_HERE}.events.dispatcher:EventDispatcherMixin",
    ),
    (
        "celery.events.receiver:EventReceiver",
        f"{_HERE}.events.receiver:EventReceiverMixin",
    ),
    (
        "celery.contrib.abortable:AbortableAsyncResult",
        f"{_HERE}.contrib.abortable:AbortableAsyncResultMixin",
    ),
    (
        "celery.contrib.abortable:AbortableTask",
        f"{_HERE}.contrib.abortable:AbortableTaskMixin",
    ),
    (
        "celery.contrib.django.task:DjangoTask",
        f"{_HERE}.contrib.django.task:DjangoTaskMixin",
        "django",
    ),
    ("celery.result", f"{_HERE}.result"),
    ("celery.result:AsyncResult", f"{_HERE}.result.async_result:AsyncResultMixin"),
    ("celery.result:ResultSet", f"{_HERE}.result.result_set:ResultSetMixin"),
    ("celery.result:GroupResult", f"{_HERE}.result.group_result:GroupResultMixin"),
    ("celery.result:EagerResult", f"{_HERE}.result.eager_result:EagerResultMixin"),
    ("celery.backends.base:Backend", f"{_HERE}.backends.base:BackendMixin"),
    (
        "celery.backends.base:SyncBackendMixin",
        f"{_HERE}.backends.polled:SyncBackendMixinMixin",
    ),
    (
        "celery.backends.base:BaseKeyValueStoreBackend",
        f"{_HERE}.backends.key_value:KeyValueStoreBackendMixin",
    ),
    (
        "celery.backends.base:DisabledBackend",
        f"{_HERE}.backends.disabled:DisabledBackendMixin",
    ),
    (
        "celery.backends.asynchronous:AsyncBackendMixin",
        f"{_HERE}.backends.asynchronous:AsyncBackendMixinMixin",
    ),
    (
        "celery.backends.asynchronous:BaseResultConsumer",
        f"{_HERE}.backends.asynchronous:BaseResultConsumerMixin",
    ),
    (
        "celery.backends.redis:RedisBackend",
        f"{_HERE}.backends.redis:RedisBackendMixin",
        "redis",
    ),
    (
        "celery.backends.redis:ResultConsumer",
        f"{_HERE}.backends.redis:RedisResultConsumerMixin",
        "redis",
    ),
    ("celery.backends.rpc:RPCBackend", f"{_HERE}.backends.rpc:RPCBackendMixin"),
    (
        "celery.backends.rpc:ResultConsumer",
        f"{_HERE}.backends.rpc:RPCResultConsumerMixin",
    ),
)
