"""What upstream would have to gain before a twin could be its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .surface import Member

__all__ = ("NEEDS", "needs_of")

NEEDS = {
    "transport": "`Transport.establish_connection` and `create_channel` that await the "
    "socket, in each transport",
    "channel": "awaitable channel verbs (declare, bind, publish, get, ack) over an "
    "async client of the transport",
    "events": "a `drain_events` that awaits the socket; today it blocks, or polls with "
    "a sleep",
    "pool": "a pool whose `acquire` awaits a free resource; today a thread blocks in a "
    "queue",
    "publish": "`Producer.apublish`, with the retry policy awaiting its pauses",
    "mailbox": "an awaitable broadcast, and reply queues that do not depend on the "
    "thread",
    "sending": "an async `send_task_message`: routing and headers stay, only the "
    "publish is awaited",
    "backend": "an async client in the backend (redis.asyncio, SQLAlchemy's async "
    "engine, ...)",
    "waiting": "a result consumer that resolves futures instead of draining in the "
    "waiting thread",
    "tracer": "a tracer that awaits the task body and what the backend stores",
    "composition": "nothing of its own: it is made of other a-methods",
    "hook": "nothing but an `await`: it runs user code",
}

_BY_PATH: dict[str, tuple[str, ...]] = {
    "kombu.connection.Connection": ("transport",),
    "kombu.connection.Connection.drain_events": ("events",),
    "kombu.connection.Connection.SimpleQueue": ("channel",),
    "kombu.connection.Connection.SimpleBuffer": ("channel",),
    "kombu.connection.Connection.Consumer": ("channel",),
    "kombu.connection.Connection.channel": ("transport", "channel"),
    "kombu.connection.Connection.default_channel": ("transport", "channel"),
    "kombu.connection.ConnectionPool": ("pool", "transport"),
    "kombu.connection.ChannelPool": ("pool", "channel"),
    "kombu.resource": ("pool",),
    "kombu.pools": ("pool",),
    "kombu.messaging.Producer": ("publish",),
    "kombu.messaging._ProducerBatch": ("publish",),
    "kombu.messaging.Consumer": ("channel",),
    "kombu.messaging.Consumer.receive": ("hook",),
    "kombu.entity": ("channel",),
    "kombu.message": ("channel",),
    "kombu.simple": ("channel",),
    "kombu.simple.SimpleBase.get": ("events",),
    "kombu.simple.SimpleBase.put": ("publish",),
    "kombu.mixins": ("events",),
    "kombu.pidbox": ("mailbox",),
    "kombu.common": ("channel",),
    "kombu.common.drain_consumer": ("events",),
    "kombu.common.itermessages": ("events",),
    "kombu.common.eventloop": ("events",),
    "kombu.common.collect_replies": ("events",),
    "kombu.common.send_reply": ("publish",),
    "kombu.common.insured": ("pool", "transport"),
    "kombu.compat": ("channel",),
    "kombu.compat.Publisher": ("publish",),
    "kombu.compat.Consumer.iterconsume": ("events",),
    "kombu.compat.Consumer.wait": ("events",),
    "kombu.compat.ConsumerSet.iterconsume": ("events",),
    "kombu.transport": ("channel",),
    "kombu.transport.virtual.base.Channel.drain_events": ("events",),
    "kombu.transport.virtual.base.Transport": ("transport",),
    "kombu.transport.virtual.base.Transport.drain_events": ("events",),
    "kombu.transport.pyamqp.Transport": ("transport",),
    "kombu.transport.pyamqp.Transport.drain_events": ("events",),
    "amqp.channel": ("channel",),
    "celery.app.base": ("pool",),
    "celery.app.base.Celery.send_task": ("sending",),
    "celery.app.base.Celery.backend": ("backend",),
    "celery.app.base.Celery.bugreport": ("composition",),
    "celery.app.amqp": ("sending",),
    "celery.app.amqp.AMQP.producer_pool": ("pool",),
    "celery.app.amqp.AMQP.TaskConsumer": ("channel",),
    "celery.app.task": ("sending",),
    "celery.app.task.Task.apply": ("tracer",),
    "celery.app.task.Task.run": ("hook",),
    "celery.app.task.Task.before_start": ("hook",),
    "celery.app.task.Task.on_success": ("hook",),
    "celery.app.task.Task.on_retry": ("hook",),
    "celery.app.task.Task.on_failure": ("hook",),
    "celery.app.task.Task.after_return": ("hook",),
    "celery.app.task.Task.add_to_chord": ("backend", "sending"),
    "celery.app.task.Task.update_state": ("backend",),
    "celery.app.task.Task.backend": ("backend",),
    "celery.app.task.Task.send_event": ("pool", "publish"),
    "celery.contrib.django": ("sending",),
    "celery.contrib.abortable": ("backend",),
    "celery.canvas": ("sending", "backend"),
    "celery.canvas.Signature": ("composition",),
    "celery.canvas._chain": ("composition",),
    "celery.canvas._basemap": ("composition",),
    "celery.canvas.chunks": ("composition",),
    "celery.result": ("backend",),
    "celery.result.AsyncResult.get": ("waiting",),
    "celery.result.AsyncResult.collect": ("waiting",),
    "celery.result.AsyncResult.get_leaf": ("waiting",),
    "celery.result.AsyncResult.revoke": ("mailbox",),
    "celery.result.AsyncResult.revoke_by_stamped_headers": ("mailbox",),
    "celery.result.ResultSet.revoke": ("mailbox",),
    "celery.result.ResultSet.get": ("composition",),
    "celery.result.ResultSet.join": ("composition",),
    "celery.result.ResultSet.join_native": ("waiting",),
    "celery.result.ResultSet.iter_native": ("waiting",),
    "celery.result.EagerResult": ("composition",),
    "celery.backends": ("backend",),
    "celery.backends.base.SyncBackendMixin": ("waiting",),
    "celery.backends.asynchronous": ("waiting",),
    "celery.backends.redis.ResultConsumer": ("waiting",),
    "celery.backends.rpc": ("channel", "waiting"),
    "celery.app.control": ("mailbox",),
    "celery.app.control.Control.purge": ("channel",),
    "celery.app.events": ("publish",),
    "celery.events.dispatcher": ("publish",),
    "celery.events.receiver": ("events",),
    "celery.app.trace": ("tracer",),
}


def needs_of(row: Member) -> tuple[str, ...]:
    """Return the needs of a member, by the longest path that is listed.

    Raises:
        LookupError: no path is.
    """
    path = str(row)
    while path:
        if path in _BY_PATH:
            return _BY_PATH[path]
        path = path.rpartition(".")[0]
    raise LookupError(f"{row}: what would upstream need?")
