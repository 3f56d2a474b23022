"""A broker inside the process, with the rules of RabbitMQ; it knows no client."""

__all__ = ()
