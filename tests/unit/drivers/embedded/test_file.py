"""`embedded:///path`: Kombu and Celery on a broker in a file, and what goes wrong."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from celery import Celery
from kombu import Connection, Queue
from kombu.exceptions import OperationalError

import celery_async_bridge
from celery_async_bridge.drivers.embedded.address import name_of
from celery_async_bridge.drivers.embedded.link import Connection as Session
from celery_async_bridge.embedded import places
from celery_async_bridge.testing.tripwire import tripwire

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A path; what is open there is closed afterwards."""
    path = tmp_path.resolve() / "Broker.db"
    yield path
    places.forget(str(path))


def _double(x: int) -> int:
    return x * 2


def _sizes(url: str, *names: str) -> list[int]:
    with Connection(url) as connection:
        channel: Any = connection.channel()
        return [channel.queue_declare(n, passive=True).message_count for n in names]


def _fill(url: str, count: int = 1) -> None:
    with Connection(url) as connection, connection.SimpleQueue("q") as messages:
        for number in range(count):
            messages.put(number)


def test_publish_that_has_returned_is_on_the_disk(file: Path) -> None:
    with Connection(f"embedded://{file}") as connection:
        messages = connection.SimpleQueue("q")
        for number in range(1, 4):
            messages.put("hello")
            other = sqlite3.connect(file)
            found = other.execute("SELECT count(*) FROM messages").fetchone()
            other.close()
            assert found == (number,)
        # As `channel.basic_publish` with confirms, which answers after the commit.
        options = {"confirm_publish": True}
        with Connection(f"embedded://{file}", transport_options=options) as sure:
            channel: Any = sure.channel()
            channel.basic_publish(
                amqp.Message("x", delivery_mode=2), routing_key="q", mandatory=True
            )
        other = sqlite3.connect(file)
        assert other.execute("SELECT count(*) FROM messages").fetchone() == (4,)
        other.close()


def test_delay_has_waited_for_the_disk_in_sync_code_and_awaited(file: Path) -> None:
    url = f"embedded://{file}"
    app: Any = Celery("file", broker=url, set_as_current=False)
    add = app.task(_double, name="double", shared=False)
    add.delay(1)
    counted = "SELECT count(*) FROM messages"

    async def main() -> None:
        with tripwire():
            await add.adelay(2)
            # More at once than the app's pool has producers.
            await asyncio.gather(*(add.adelay(n) for n in range(50)))

    other = sqlite3.connect(file)
    assert other.execute(counted).fetchone() == (1,)
    asyncio.run(main())
    assert other.execute(counted).fetchone() == (52,)
    other.close()


def test_opening_reading_and_sending_never_block_the_loop(file: Path) -> None:
    url = f"embedded://{file}"
    _fill(url, 20)
    places.forget(str(file))

    async def main() -> list[Any]:
        connection: Any = Connection(url)
        async with connection, connection.asimple_queue("q") as messages:
            await asyncio.gather(*(messages.aput(n) for n in range(20, 40)))
            found = []
            for _ in range(40):
                message = await messages.aget(timeout=30)
                found.append(message.payload)
                await message.aack()
            return found

    with tripwire():
        found = asyncio.run(main())
    assert found[:20] == list(range(20))
    assert sorted(found) == list(range(40))


def test_tasks_and_results_live_on(file: Path) -> None:
    url = f"embedded://{file}"

    def app() -> Any:
        made: Any = Celery("file", broker=url, backend=url, set_as_current=False)
        made.task(_double, name="double", shared=False)
        return made

    sent = app().tasks["double"].delay(21).id
    places.forget(str(file))

    async def work() -> None:
        mine = app()
        async with celery_async_bridge.embedded_worker(mine):
            assert await mine.AsyncResult(sent).aget(timeout=30) == 42

    asyncio.run(work())
    places.forget(str(file))
    assert app().AsyncResult(sent).get(timeout=30) == 42


def test_all_names_of_a_file_are_one_broker(file: Path) -> None:
    _fill(f"embedded://{file}", 3)
    link = file.parent / "link"
    link.symlink_to(file.parent)
    assert _sizes(f"embedded://{link}/./Broker.db", "q") == [3]


def test_second_process_is_told_who_owns_the_file(file: Path) -> None:
    url = f"embedded://{file}"
    _fill(url)
    code = (
        "import celery_async_bridge, kombu; celery_async_bridge.install()\n"
        f"try: kombu.Connection({url!r}).connect()\n"
        "except Exception as exc: print(type(exc).__name__, exc)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert f"is open in process {os.getpid()}," in ran.stdout
    assert "use another file" in ran.stdout
    assert _sizes(url, "q") == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_child_is_refused_and_does_no_harm(file: Path) -> None:
    url = f"embedded://{file}"
    _fill(url, 3)
    child = (
        "import os, sys, celery_async_bridge, kombu\n"
        "celery_async_bridge.install()\n"
        f"url = {url!r}\n"
        "connection = kombu.Connection(url)\n"
        "messages = connection.SimpleQueue('q')\n"
        "messages.put(3)\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    for use in (lambda: messages.put(9), kombu.Connection(url).connect):\n"
        "        try: use()\n"
        "        except Exception as exc: print(exc, flush=True)\n"
        "    sys.exit()\n"  # with all that an interpreter does at its end
        "os.waitpid(pid, 0)\n"
        "for number in range(4, 10): messages.put(number)\n"
    )
    places.forget(str(file))
    ran = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, check=True
    )
    assert ran.stdout.count("and this is its child") == 2
    assert _sizes(url, "q") == [10]
    places.forget(str(file))
    other = sqlite3.connect(file)
    assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    other.close()


def _text(path: Path) -> None:
    path.write_text("Dear diary, " * 500)


def _foreign(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()


def _later(path: Path) -> None:
    _fill(f"embedded://{path}")
    places.forget(str(path))
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()


def _damaged(path: Path) -> None:
    _fill(f"embedded://{path}", 300)
    places.forget(str(path))
    with path.open("r+b") as opened:
        opened.seek(4096 * 2)
        opened.write(b"\xff" * 4096 * 20)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_text, "move it away"),
        (_foreign, "something else"),
        (_later, "has format 99"),
        (_damaged, "recover"),
    ],
)
def test_file_that_is_not_ours_is_left_alone(file: Path, spoil: Any, said: str) -> None:
    spoil(file)
    before = file.read_bytes()
    for _ in range(2):
        with pytest.raises(ValueError, match=said):
            Connection(f"embedded://{file}").connect()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("below", "said"),
    [("/no/such/x.db", "create it first"), ("", "name a file in it")],
)
def test_path_that_leads_nowhere(file: Path, below: str, said: str) -> None:
    path = f"{file.parent}{below}"
    with pytest.raises(OSError, match=said):
        # Kombu's own connection would try again for two seconds.
        Session(name_of(f"embedded://{path}")).connect()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_directory_that_cannot_be_written() -> None:
    with pytest.raises(PermissionError, match="the right to write"):
        Session("/proc/broker.db").connect()


def test_full_disk_takes_the_message_back_and_says_so(file: Path) -> None:
    url = f"embedded://{file}"
    _fill(url, 3)
    journal = places.broker(str(file)).journal
    assert journal is not None
    assert journal._file is not None
    sql = journal._file._sql
    pages = sql.execute("PRAGMA page_count").fetchone()[0]
    sql.execute(f"PRAGMA max_page_count = {pages}")
    with Connection(url) as connection:
        producer = connection.Producer()
        queue = Queue("q")
        for _ in range(2):
            with pytest.raises(amqp.exceptions.ResourceError, match="disk full"):
                producer.publish("x" * 100_000, routing_key=queue.name)
        with pytest.raises(OperationalError, match="disk full"):
            producer.publish(
                "x" * 100_000,
                routing_key=queue.name,
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0},
            )
    assert _sizes(url, "q") == [3]
    sql.execute("PRAGMA max_page_count = 1000000")
    _fill(url)
    assert _sizes(url, "q") == [4]
    places.forget(str(file))
    assert _sizes(url, "q") == [4]


def test_cancelled_send_may_be_there_and_the_next_one_is(file: Path) -> None:
    url = f"embedded://{file}"

    async def main() -> None:
        connection: Any = Connection(url)
        async with connection, connection.asimple_queue("q") as messages:
            sends = [asyncio.create_task(messages.aput(n)) for n in range(10)]
            await asyncio.sleep(0)
            for send in sends[::2]:
                send.cancel()
            await asyncio.wait(sends)
            await messages.aput("last")

    asyncio.run(main())
    places.forget(str(file))
    (count,) = _sizes(url, "q")
    assert 6 <= count <= 11
