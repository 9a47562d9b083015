"""Setting up: versions are pinned exactly and completely, and a missing python3-venv is said with the way to get it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import setup_host


def pins(lines: list[str]) -> dict[str, str]:
    """name -> version, names as pip compares them."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][^ ]*)", line.strip())
        assert match, f"{line!r} pins no exact version"
        found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    return found


@pytest.mark.parametrize("group", ["host", "stubs"])
def test_the_lock_file_has_every_direct_pin_at_the_same_version(group: str) -> None:
    host, stubs = setup_host.locked()
    text = host if group == "host" else stubs
    locked = pins([line for line in text.splitlines() if line.strip() and not line.startswith("#")])
    for name, version in pins(setup_host.direct(group)).items():
        assert locked.get(name) == version, f"{name}: pyproject.toml says {version}; run `make lock`"


def test_a_python_without_venv_is_told_which_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/bash\necho 'ensurepip is not available' >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(setup_host.sys, "executable", str(python))
    with pytest.raises(SystemExit):
        setup_host.create_venv(tmp_path / "venv")
    said = capsys.readouterr().err
    assert "apt-get install python3-venv" in said and "ensurepip is not available" in said
    assert not (tmp_path / "venv").exists()


def test_an_older_python_reads_the_file_and_gets_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    text = Path(setup_host.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 7))
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert [alias.name for node in future for alias in node.names] == ["annotations"], "list[str] is a TypeError before 3.9"
    code = compile(text.replace("sys.version_info < (3, 11)", "(3, 8, 20) < (3, 11)"), "setup_host.py", "exec")
    with pytest.raises(SystemExit):
        exec(code, {"__name__": "__main__", "__file__": setup_host.__file__})
    said = capsys.readouterr().err
    assert "needs Python 3.11 or newer" in said and said.count("\n") == 1


def test_ctrl_c_during_set_up_ends_with_one_line(tmp_path: Path) -> None:
    first = "    if sys.version_info"
    text = Path(setup_host.__file__).read_text().replace(first, f"    raise KeyboardInterrupt\n{first}", 1)
    file = tmp_path / "setup_host.py"
    file.write_text(text)
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 130 and "the next make goes on" in done.stderr and "Traceback" not in done.stderr


def test_two_setups_come_one_after_the_other_and_the_second_says_for_whom_it_waits(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tools import setup_host\n"
        f"setup_host.CACHE = Path({str(tmp_path / '.cache')!r})\n"
        "with setup_host.alone():\n    print('mine', flush=True); sys.stdin.readline()\n"
    )

    def begin() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, "-c", code], cwd=setup_host.ROOT, stdin=pipe, stdout=pipe, text=True)

    def heard(process: subprocess.Popen[str]) -> str:
        assert process.stdout
        return process.stdout.readline()

    with begin() as first:
        assert heard(first) == "mine\n"
        second = begin()
        assert f"another setup is running (process {first.pid}), waiting" in heard(second)
        first.communicate("\n")
        assert heard(second) == "mine\n"
        second.communicate("\n")
