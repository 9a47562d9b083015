"""Real mpremote at the serial port of a simulated board while power flows: calls, copies, folders, errors, the emergency."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path

import pytest

from host_tests.site.test_console_board import Desk, play
from tools import claims
from tools.bench.bars.hands import mpremote
from tools.interpreters import Interpreter
from tools.sim.board import ptyport
from tools.sim.board.ptyport import PtyPort


def test_what_mpremote_does_works_while_power_flows(tmp_path: Path, mp32: Interpreter) -> None:
    data = random.Random(3).randbytes(700)
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(data)

    async def story(desk: Desk) -> None:
        port = PtyPort(desk.board, tmp_path / "port")
        port.open()

        why = ptyport.refused(tmp_path / ".." / tmp_path.name / "port")
        assert f"process {os.getpid()} (" in why and "has its board there" in why
        with pytest.raises(claims.Taken):
            PtyPort(desk.board, tmp_path / "port").open()
        assert port.path.is_symlink()

        async def ask(*words: str) -> str:
            return (await mpremote(port.path, *words, timeout=60)).replace("\r\n", "\n")

        try:
            await desk.ask("monitor(100)")
            cycles = (await desk.until_monitor())["cycles"]
            chain = [word for n in range(15) for word in ("exec", f"x = {n}\nprint(x * 7, pm.mode)")]
            assert await ask(*chain) == "".join(f"{7 * n} 3\n" for n in range(15))
            said = await ask("resume", "eval", "[x, 'a' * 300]", "+", "exec", "print(len(b'x' * 200000))", "+", "sleep", "0.1")
            assert said == f"[14, '{'a' * 300}']\n200000\n"
            said = await ask("cp", str(sent), ":sent", "+", "cp", ":sent", str(got), "+", "ls", ":", "+", "sha256sum", ":sent")
            assert got.read_bytes() == data and hashlib.sha256(data).hexdigest() in said
            assert "         700 sent\n" in said and "           0 lib/\n" in said, "sizes, as a board's own file system has them"
            sizes = [int(line.split()[0]) for line in (await ask("ls", ":lib")).splitlines()[1:] if "/" not in line]
            assert len(sizes) > 5 and min(sizes) > 0
            assert await ask("resume", "cat", ":site.json", "+", "rm", ":sent") == desk.site_text() + "rm :sent\n"
            assert "No such file" in await ask("cat", ":sent")
            assert "ZeroDivisionError" in await ask("exec", "1 / 0")
            assert await ask("soft-reset", "eval", "x") == "14\n", "it was answered, and not done"
            assert "more than 2000 ms" in await ask("exec", "while True: pass")
            await desk.until(lambda truth: truth["contactor"] and truth["pcs_kw"] > 19)
            seen = await desk.until_monitor()
            assert seen["cycles"] > cycles + 40 and seen["mode"] == "DISCHARGE", "control and monitor went on"
            assert await ask("resume", "exec", "emergency") == "True\n"
            await desk.until(lambda truth: truth["pcs_kw"] == 0 and not truth["contactor"])
            assert await desk.ask("1 + 1") == "= 2"
        finally:
            await port.close()
        assert not port.path.is_symlink() and ptyport.refused(port.path) == ""

    play(mp32, tmp_path / "board", story)


def test_a_port_is_linked_only_where_nothing_else_is(tmp_path: Path) -> None:
    file, stale, other = tmp_path / "file", tmp_path / "stale", tmp_path / "other"
    file.touch()
    stale.symlink_to("/dev/pts/99999")
    other.symlink_to(file)
    assert "is something already" in ptyport.refused(file) and "is something already" in ptyport.refused(other)
    assert "cannot be made" in ptyport.refused(tmp_path / "nowhere" / "port")
    assert ptyport.refused(stale) == ptyport.refused(tmp_path / "port") == ""


def test_a_command_line_says_that_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def run() -> tuple[int | None, str]:
        command = [".venv/bin/python", "-m", "tools.run", "--pty", str(tmp_path / "file"), "--json"]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2])
        _, said = await process.communicate()
        return process.returncode, said.decode()

    code, said = asyncio.run(run())
    assert code == 2 and "--pty goes without --json" in said and "is something already" in said
