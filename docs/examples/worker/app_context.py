"""Tasks that share a pool of PostgreSQL connections.

celery -A app_context -b redis://localhost worker -P asyncio
python app_context.py [redis://localhost|amqp://guest:guest@localhost// [SECONDS]]

Who and where the database is, asyncpg also learns from PGHOST, PGUSER and so on.
"""

import asyncio
import contextlib
import sys

from celery import Celery

import celery_async_bridge

try:
    import asyncpg
except ModuleNotFoundError:
    raise SystemExit("this example needs asyncpg: pip install asyncpg") from None

celery_async_bridge.install()

__all__ = ("app", "get_postgres_version", "main", "setup_context")

#: Named, so that a task has the same name here and in the worker.
app = Celery("app_context")
app.conf.update(
    result_backend="redis://localhost:6379",
)


@app.define_app_context
@contextlib.asynccontextmanager
async def setup_context():
    """Open the pool before the first task of a worker, close it after the last."""
    async with asyncpg.create_pool("postgresql://localhost:5432", max_size=10) as pool:
        yield {"pool": pool}


@app.task
async def get_postgres_version():
    """Ask the database on a connection of the pool."""
    async with app.context["pool"].acquire() as conn:
        version = await conn.fetchval("SELECT version()")
    return version


async def main(broker=None, seconds=10):
    """Ask through a worker; this process opens no pool."""
    if broker:
        app.conf.update(broker_url=broker)
    result = await get_postgres_version.adelay()
    print(await result.aget(timeout=float(seconds)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
