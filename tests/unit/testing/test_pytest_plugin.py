"""The pytest plug-in, in a pytest of its own process."""

from __future__ import annotations

from importlib.metadata import entry_points
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ("pytester",)

PLUGIN = "celery_async_bridge.testing.pytest_plugin"

APP = """
    import os
    from celery import Celery, shared_task

    app = Celery("shop", broker="memory://elsewhere", backend="cache+memory://")

    @app.task
    def add(x, y):
        return x + y

    @app.task
    async def double(x):
        return 2 * x

    @app.task
    async def remind():
        return "reminded"

    @shared_task
    async def shared():
        return "shared"
"""


@pytest.fixture
def run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """Run tests that are written down beside the app `shop.app`."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(shop=dedent(APP))
    pytester.makeini("[pytest]\nasync_celery_app = shop:app\npythonpath = .\n")

    def run(text: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(dedent(text))
        return pytester.runpytest_subprocess("-p", PLUGIN, "-q", *options)

    return run


def test_worker_of_a_thread_serves_sync_and_async_tests(
    run: Callable[..., pytest.RunResult],
) -> None:
    found = run("""
        import asyncio, threading
        from celery import current_app
        from shop import add, app, double, shared

        def test_sync(async_celery_worker, async_celery_app):
            assert async_celery_app is app
            assert app.conf.broker_url.startswith("embedded://test-")
            assert add.delay(1, 2).get(timeout=10) == 3
            assert double.delay(4).get(timeout=10) == 8

        def test_async(async_celery_worker):
            async def main():
                result = await double.adelay(4)
                assert await result.aget(timeout=10) == 8
                assert await (await shared.adelay()).aget(timeout=10) == "shared"
            for _ in range(2):
                asyncio.run(main())

        def test_after():
            assert app.conf.broker_url == "memory://elsewhere"
            assert type(app.backend).__name__ == "CacheBackend"
            names = [thread.name for thread in threading.enumerate()]
            assert not [name for name in names if "worker" in name or "tests" in name]
    """)
    found.assert_outcomes(passed=3)


def test_each_test_has_a_broker_of_its_own(
    run: Callable[..., pytest.RunResult],
) -> None:
    found = run("""
        from shop import add, app

        def left():
            with app.connection_for_read() as connection:
                with connection.channel() as channel:
                    return app.amqp.queues["celery"](channel).queue_declare()[1]

        def test_one(async_celery_app):
            add.delay(1, 2)
            assert left() == 1

        def test_two(async_celery_app):
            assert left() == 0
    """)
    found.assert_outcomes(passed=2)


def test_environment_does_not_lead_a_test_to_a_server(
    run: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://nowhere.invalid")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://nowhere.invalid")
    found = run("""
        import os
        from shop import add, app

        def test_one(async_celery_worker):
            assert add.delay(1, 2).get(timeout=10) == 3

        def test_two():
            assert os.environ["CELERY_BROKER_URL"] == "amqp://nowhere.invalid"
            assert app.conf.broker_url == "amqp://nowhere.invalid"
    """)
    found.assert_outcomes(passed=2)


def test_worker_on_the_loop_of_the_test(
    run: Callable[..., pytest.RunResult],
) -> None:
    found = run("""
        import asyncio
        from shop import app

        @app.task
        async def loop():
            return id(asyncio.get_running_loop())

        def test_one(async_celery_worker_here):
            async def main():
                async with async_celery_worker_here(concurrency=2):
                    result = await loop.adelay()
                    here = id(asyncio.get_running_loop())
                    assert await result.aget(timeout=10) == here
            asyncio.run(main())
    """)
    found.assert_outcomes(passed=1)


def test_time_stands_until_it_is_moved(
    run: Callable[..., pytest.RunResult],
) -> None:
    found = run("""
        import pytest
        from celery.exceptions import TimeoutError
        from shop import remind

        def test_one(async_celery_worker, async_celery_clock):
            result = remind.apply_async(countdown=3600)
            async_celery_clock.advance(3599)
            assert result.state == "PENDING"
            async_celery_clock.advance(1)
            assert result.get(timeout=10) == "reminded"
    """)
    found.assert_outcomes(passed=1)


def test_tripwire_fails_who_holds_the_loop(
    run: Callable[..., pytest.RunResult],
) -> None:
    found = run("""
        import asyncio, time
        from shop import app, double

        @app.task
        async def holds():
            time.sleep(0.01)

        def test_good(async_celery_worker_here, async_celery_tripwire):
            async def main():
                async with async_celery_worker_here():
                    assert await (await double.adelay(2)).aget(timeout=10) == 4
            asyncio.run(main())

        def test_bad(async_celery_worker, async_celery_tripwire):
            holds.delay().get(timeout=10, propagate=False)
    """)
    found.assert_outcomes(passed=2, errors=1)
    found.stdout.fnmatch_lines(["*TripError: time.sleep(0.01) on the thread of*"])


def test_settings_and_a_new_app(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\n")
    found = run("""
        import pytest

        @pytest.fixture
        def async_celery_config():
            return {"task_default_queue": "mine"}

        @pytest.fixture
        def task(async_celery_app):
            @async_celery_app.task
            async def task():
                return 1
            return task

        def test_one(async_celery_app, task, async_celery_worker):
            assert async_celery_app.conf.task_default_queue == "mine"
            assert task.delay().get(timeout=10) == 1
    """)
    found.assert_outcomes(passed=1)


def test_beside_the_fixtures_of_celery(
    run: Callable[..., pytest.RunResult],
) -> None:
    found = run(
        """
        from shop import add

        def test_theirs(celery_app):
            assert celery_app.conf.broker_url == "memory://"

        def test_ours(async_celery_worker):
            assert add.delay(1, 2).get(timeout=10) == 3
        """,
        *("-p", "celery.contrib.pytest"),
    )
    found.assert_outcomes(passed=2)


def test_unused_it_costs_nothing(run: Callable[..., pytest.RunResult]) -> None:
    found = run("""
        import sys

        def test_one():
            ours = {name.split(".")[0] for name in sys.modules}
            assert not ours & {"celery", "kombu", "greenlet", "amqp"}
    """)
    found.assert_outcomes(passed=1)


def test_pytest_finds_it_and_has_it_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = [
        one for one in entry_points(group="pytest11") if one.value.startswith(PLUGIN)
    ]
    assert found.name == found.value == PLUGIN
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    pytester.makepyfile(
        f"pytest_plugins = [{PLUGIN!r}]\ndef test_one(async_celery_app): pass\n"
    )
    pytester.runpytest_subprocess("-p", PLUGIN).assert_outcomes(passed=1)
