"""The contract of an app on a broker and a backend, and that of a backend alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from .app_stage import AppStage
from .case import Case, compare, parametrized
from .cases.backends import BACKENDS
from .cases.control import CONTROL
from .cases.results import RESULTS
from .cases.sending import CANVAS, MEETING, SENDING
from .requirements import Requirements
from .wire import Server

__all__ = ("BackendContract", "ControlContract", "PairContract", "TaskContract")


class _AppContract:
    broker_url: ClassVar[str] = "memory://"
    backend_url: ClassVar[str] = ""
    lacking: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def broker(self) -> Server:
        """The broker under test."""
        return Server(self.broker_url)

    @pytest.fixture
    def backend(self) -> Server | None:
        """The result backend under test; None: results are disabled."""
        return Server(self.backend_url) if self.backend_url else None

    def _compare(self, case: Case, broker: Server, backend: Server | None) -> None:
        def stage() -> Any:
            return AppStage(broker, backend)

        compare(case, stage, Requirements(self.lacking))


class TaskContract(_AppContract):
    """Every way to send a task does what its sync method does.

    Subclass it as `Test...` and set `broker_url` and `backend_url` (empty: disabled),
    or override the fixtures `broker` and `backend`.
    """

    @parametrized(SENDING)
    def test_sending(self, broker: Server, backend: Server | None, case: Case) -> None:
        """Send a task with every option set."""
        self._compare(case, broker, backend)

    @parametrized(CANVAS)
    def test_canvas(self, broker: Server, backend: Server | None, case: Case) -> None:
        """Send signatures, chains, groups, chords."""
        self._compare(case, broker, backend)


class PairContract(_AppContract):
    """Those sends in which broker and backend meet: a short `TaskContract`."""

    @parametrized(MEETING)
    def test_meeting(self, broker: Server, backend: Server | None, case: Case) -> None:
        """Send what declares, subscribes or stores something for its result."""
        self._compare(case, broker, backend)


class BackendContract(_AppContract):
    """Every method of a result backend, and of the results that it serves."""

    @parametrized(BACKENDS)
    def test_backend(self, broker: Server, backend: Server, case: Case) -> None:
        """Store, read, forget; groups; keys."""
        self._compare(case, broker, backend)

    @parametrized(RESULTS)
    def test_results(self, broker: Server, backend: Server, case: Case) -> None:
        """Wait for results and ask for their states."""
        self._compare(case, broker, backend)


class ControlContract(_AppContract):
    """Remote control and events over a broker."""

    @parametrized(CONTROL)
    def test_control(self, broker: Server, backend: Server | None, case: Case) -> None:
        """Broadcast commands, collect replies, send events."""
        self._compare(case, broker, backend)
