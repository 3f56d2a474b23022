"""A process that answers each message with a result, and does nothing else.

    python -m tests.benchmarks.waiting.responder PORT QUEUE

It takes what is there in one command and stores all results in one write, so that
whoever waits for them is the limit, and not a worker.
"""

from __future__ import annotations

import sys

from .answers import Store, pack

__all__ = ("main", "task_id_of")

#: Messages in one command.
_AT_ONCE = 500
_MARK = b'"id": "'


def task_id_of(message: bytes) -> bytes:
    """The id of a task message on Redis; its body, which is encoded, has no such mark.

    Raises:
        ValueError: it is none.
    """
    start = message.index(_MARK) + len(_MARK)
    return message[start : start + 36]


def main() -> None:
    """Answer until somebody ends it, or the server is gone."""
    store = Store(int(sys.argv[1]))
    queue = sys.argv[2].encode()
    wait, more = pack(b"BRPOP", queue, b"0"), pack(b"RPOP", queue, b"%d" % _AT_ONCE)
    print("ready", flush=True)
    store.send(wait)
    waits = True
    while True:
        (reply,) = store.read(1)
        messages = [reply[1]] if waits else reply or []
        waits = not messages
        answers = b"".join(store.stored(task_id_of(one)) for one in messages)
        store.send(answers + (wait if waits else more))
        store.read(len(messages) * store.replies)


if __name__ == "__main__":
    try:
        main()
    except (ConnectionError, KeyboardInterrupt):
        sys.exit(0)
