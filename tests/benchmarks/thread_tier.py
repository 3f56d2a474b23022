"""Fifty sends at once through threads, on a broker that is 20 ms away.

    python -m tests.benchmarks.thread_tier [--broker URL ...]

Kombu's pool of connections sets the waves: 50 sends on 10 connections are 5 of them.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets

import celery_async_bridge
from tests.integration.apps import an_app
from tests.integration.measure import fifty_sends
from tests.integration.proxy import proxied
from tests.servers import LOCAL_AMQP, LOCAL_REDIS, with_db

#: Connections in Kombu's pool -> how many single sends fifty may take.
BOUNDS = {10: 8.0, 50: 4.0}


def main() -> int:
    """Print the figures; 1 if one is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--broker", nargs="*", default=[with_db(LOCAL_REDIS), LOCAL_AMQP]
    )
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    missed = 0
    celery_async_bridge.install()
    for url in options.broker:
        for limit, bound in BOUNDS.items():
            conf = {
                "broker_pool_limit": limit,
                "broker_transport_options": {"confirm_publish": True},
            }
            if options.threads:
                conf["async_threads"] = options.threads
            name = f"bench-{secrets.token_hex(4)}"
            with (
                proxied(url, delay=0.01) as proxy,
                an_app(proxy.url, "", name, **conf) as app,
            ):
                found = asyncio.run(fifty_sends(app))
                app.control.purge()
            good = found.ratio < bound and found.gap < 0.02
            missed += not good
            scheme = url.partition(":")[0]
            mark = "ok" if good else f"over {bound:g} sends or 20 ms"
            print(f"{scheme:6} pool {limit:2}: {found} ({mark})")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
