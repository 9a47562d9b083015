"""What a deploy that is broken off says: how the board stands, and how to go on."""

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import board_site, check_site, deploy
from tools.serial_line import LineError


class Prompt:
    def __init__(self, _port: str, soft_reset: bool) -> None:
        self.soft_reset = soft_reset

    def __enter__(self) -> "Prompt":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], live: bool, where: str, error: BaseException) -> str:
    """What is printed at the end of a deploy in which `where` raises."""

    def breaks(*_: Any, **__: Any) -> Any:
        raise error

    arguments = argparse.Namespace(
        port="/dev/ttyX", board="", site=Path("site.json"), image="stock", again=True, live=live, resume=False, no_reset=False,
        dry_run=None, march="x64", ssid="", password="", replace_site=True,
    )  # fmt: skip
    monkeypatch.setattr(deploy, "arguments_of", lambda: arguments)
    monkeypatch.setattr(deploy, "target_of", lambda _: (None, "x64"))
    monkeypatch.setattr(deploy, "site_of", lambda *_: {})
    monkeypatch.setattr(deploy, "prepare", lambda *_: SimpleNamespace(stamp="55e3e106", files=[]))
    monkeypatch.setattr(deploy, "leave", lambda _: None)
    monkeypatch.setattr(deploy, "RawPrompt", Prompt)
    monkeypatch.setattr(deploy.Copying, "run", lambda _: "all was sent")
    monkeypatch.setattr(deploy, "verdict", lambda *_: "")
    monkeypatch.setattr(check_site, "tables", lambda _: {})
    owner, _, name = where.rpartition(".")
    monkeypatch.setattr(getattr(deploy, owner) if owner else deploy, name, breaks)
    assert deploy.main() == 1
    return capsys.readouterr().err


STANDS = "control does not run until the board starts: deploy again, or `mpremote connect /dev/ttyX reset`\n"


@pytest.mark.parametrize("where", ["leave", "RawPrompt", "Copying.run"])
def test_ctrl_c_amid_a_deploy_says_that_control_stands_and_how_to_go_on(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """"it starts a whole generation" was the last line, and the board sat at the bare prompt."""
    assert said(monkeypatch, capsys, False, where, KeyboardInterrupt()) == "\nended by Ctrl-C: " + STANDS


@pytest.mark.parametrize(("live", "where"), [(True, "Copying.run"), (False, "prepare"), (False, "verdict")])
def test_where_control_goes_on_or_the_board_restarts_it_is_not_said_to_stand(
    live: bool, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(monkeypatch, capsys, live, where, KeyboardInterrupt())
    assert told == "\nended by Ctrl-C: whatever the board has, it starts a whole generation\n"


def test_a_line_that_breaks_says_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(monkeypatch, capsys, False, "Copying.run", LineError("the board does not answer any more"))
    assert told == "the board does not answer any more\nThe board starts what it had before; " + STANDS
    told = said(monkeypatch, capsys, True, "Copying.run", LineError("the board does not answer any more"))
    assert told == "the board does not answer any more\nThe board starts what it had before.  Deploy again.\n"


@pytest.mark.parametrize("where", ["leave", "RawPrompt"])
def test_a_line_that_breaks_before_anything_is_copied_says_that_control_may_stand(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(monkeypatch, capsys, False, where, LineError("PORT=/dev/ttyX: no prompt within 42 s"))
    stands = "control has been asked to end, and may stand still: deploy again, or `mpremote connect /dev/ttyX reset`\n"
    assert told == "PORT=/dev/ttyX: no prompt within 42 s\n" + stands


def test_a_flash_that_is_full_is_told_in_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for said_by_board in ("OSError: 28", "OSError: [Errno 28] ENOSPC"):
        told = said(monkeypatch, capsys, True, "Copying.run", LineError(said_by_board))
        assert told.startswith(said_by_board + ": the board's flash is full.") and told.endswith("before.  Deploy again.\n"), told


def test_a_board_s_site_file_that_cannot_be_compared_is_said_and_one_that_is_not_there_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Full:
        """A prompt at which the answers come one by one, and then the heap is full."""

        def __init__(self, *answers: str) -> None:
            self.answers = list(answers)

        def run(self, _: str) -> str:
            if self.answers:
                return self.answers.pop(0)
            raise LineError("MemoryError: memory allocation failed, allocating 512 bytes")

    def said(*answers: str) -> str:
        assert board_site.against(Full(*answers), {"name": "depot"}, Path("site.json"), "/dev/ttyX") == []  # type: ignore[arg-type]
        return capsys.readouterr().out

    assert said("", "site.json - -") == "", "a board without one"
    for answers in ((), ("", "site.json - 5e3c", "")):
        assert "could not be compared with site.json (MemoryError: " in said(*answers)
        assert "what was changed on the board is replaced" in said(*answers)
