"""A port given out is nobody else's: not of this process again, not of another one, not of who asks the system for any."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tools import claims, ports

ROOT = Path(__file__).resolve().parents[2]


def test_what_was_given_is_not_given_again_though_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.free_port()
    monkeypatch.setattr(ports, "FIRST", port)
    monkeypatch.setattr(ports, "LAST", port)
    with pytest.raises(OSError, match=f"from {port} to {port}"):
        ports.free_port()


@pytest.mark.skipif(sys.platform != "linux", reason="the claims of other processes are seen on Linux")
def test_another_process_does_not_get_it_either() -> None:
    port = ports.free_port()
    code = f"from tools import ports; ports.FIRST = ports.LAST = {port}; ports.free_port()"
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert f"no free port among 500 tried from {port} to {port}" in other.stderr


def test_one_that_somebody_has_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        monkeypatch.setattr(ports, "FIRST", port)
        monkeypatch.setattr(ports, "LAST", port)
        with pytest.raises(OSError, match="no free port"):
            ports.free_port()
        assert not 20000 <= port <= 31999, "the system gives others"


def test_why_a_port_cannot_be_listened_on_is_said() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        one.listen()
        assert f"process {os.getpid()} (" in ports.refused(port) and "listens there already" in ports.refused(port)
    assert ports.refused(port) == ""
    for wrong in (0, -1, 65536):
        assert ports.refused(wrong) == "allowed are 1 to 65535"


@pytest.mark.skipif(sys.platform != "linux", reason="names are claimed on Linux")
def test_a_name_belongs_to_one_process_until_it_lets_go(tmp_path: Path) -> None:
    name = claims.of_path(tmp_path / "port")
    assert name == claims.of_path(tmp_path / ".." / tmp_path.name / "port") != claims.of_path(tmp_path / "other")
    assert claims.holder(name) == 0
    one = claims.claim(name)
    assert one is not None and claims.holder(name) == os.getpid()
    with pytest.raises(claims.Taken):
        claims.claim(name)
    one.close()
    assert claims.holder(name) == 0
