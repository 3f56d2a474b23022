"""The command line finds its commands."""

from __future__ import annotations

import pytest

from celery_async_bridge.__main__ import main


@pytest.mark.parametrize("argv", [[], ["nothing"], ["--nothing"]])
def test_an_unknown_command_is_an_error(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "commands: demo" in printed.err


@pytest.mark.parametrize("argv", [["-h"], ["--help"]])
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    assert "commands: demo" in capsys.readouterr().out


def test_options_reach_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--help"])
    assert ended.value.code == 0
    assert "--broker" in capsys.readouterr().out
