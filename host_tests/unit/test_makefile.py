"""What is typed on make's command line arrives as it was typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.build.stage import ROOT

PASSWORDS = ["pa$$word$1234", "a long pa$$phrase", "$(shell echo x)#y", "it's \"quoted\" \\ $HOME", "plain-enough"]


def seen(tmp_path: Path, arguments: list[str], env: dict[str, str]) -> list[str]:
    """WIFI_SSID and WIFI_PASSWORD as a recipe's command finds them."""
    probe = tmp_path / "probe.mk"
    show = "import os; print(os.environ['WIFI_SSID']); print(os.environ['WIFI_PASSWORD'])"
    probe.write_text(f'include Makefile\nprobe:\n\t@"{sys.executable}" -c "{show}"\n')
    command = ["make", "--no-print-directory", "-f", str(probe), "probe", *arguments]
    without = {name: value for name, value in os.environ.items() if not name.startswith(("WIFI_", "MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env={**without, **env}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_with_any_character_arrives_intact(password: str, tmp_path: Path) -> None:
    assert seen(tmp_path, [f"WIFI_PASSWORD={password}", "WIFI_SSID=the $1 net"], {}) == ["the $1 net", password]
    assert seen(tmp_path, [], {"WIFI_PASSWORD": password, "WIFI_SSID": "plant"}) == ["plant", password]


def test_the_readmes_example_is_long_enough_for_wpa2() -> None:
    text = (ROOT / "README.md").read_text()
    password = text.split("WIFI_PASSWORD='", 1)[1].split("'", 1)[0]
    assert 8 <= len(password) <= 63
