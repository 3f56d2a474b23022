"""A proxy that keeps a Redis server at a distance, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("at_a_distance", "main")


@contextmanager
def at_a_distance(port: int, seconds: float) -> Iterator[int]:
    """Yield the port at which a local server is that far away, there and back."""
    command = [sys.executable, "-m", __name__, str(port), str(seconds / 2)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Be the proxy, until stdin ends."""
    from tests.integration.proxy import proxied

    port, delay = sys.argv[1:]
    with proxied(f"redis://127.0.0.1:{port}", delay=float(delay)) as proxy:
        print(proxy.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
