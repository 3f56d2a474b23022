"""Twins for the classes of `amqp`, the client beneath Kombu's AMQP transport."""

__all__ = ()
