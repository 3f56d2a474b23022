"""Durable queues and persistent messages in a file; standard library only."""

__all__ = ()
