"""The fetcher of Debian programs: pinned versions first, today's where Debian has replaced one, and clear errors.

apt-get and dpkg-deb are stood in for by scripts that behave as the real ones do in these cases; the real ones run in
`make setup`.
"""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tools import debian_bundle
from tools.debian_bundle import Bundle, BundleError

APT = """#!/bin/bash
# keeps a log; "download name=version" works for the versions in $AVAILABLE, "download name" for any
echo "$@" >> "$LOG"
while [ "$1" != update ] && [ "$1" != download ]; do shift; done
verb=$1; shift
if [ "$verb" = update ]; then
    [ -n "$OFFLINE" ] && { echo "E: Failed to fetch http://mirror Temporary failure resolving" >&2; exit 100; }
    exit 0
fi
for item in "$@"; do
    name=${item%%=*}
    version=${item#*=}
    case " $AVAILABLE " in
        *" $item "*) touch "${name}_${version}_i386.deb";;
        *) if [ "$item" = "$name" ]; then touch "${name}_9.9_i386.deb"
           else echo "E: Version '$version' for '$name' was not found" >&2; exit 100; fi;;
    esac
done
"""
DPKG = """#!/bin/bash
mkdir -p "$3/usr/bin" "$3/usr/lib"
printf '#!/bin/bash\\nshift 2; exec "$@"\\n' > "$3/usr/lib/loader"
printf '#!/bin/bash\\necho word 32 "$@"\\n' > "$3/usr/bin/program"
chmod +x "$3/usr/lib/loader" "$3/usr/bin/program"
"""
BUNDLE = Bundle(
    name="thing",
    suite="trixie",
    architecture="i386",
    packages={"program": "1.0", "library": "2.0"},
    program="usr/bin/program",
    loader="usr/lib/loader",
    libraries=("usr/lib",),
    probe=("-c", "x"),
    answers="word 32",
    exact=("program",),
)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own and the two scripts on PATH; gives the log of apt-get's calls."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    keyring = tmp_path / "keys.gpg"
    keyring.touch()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("AVAILABLE", "program=1.0 library=2.0")
    monkeypatch.setattr(debian_bundle, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(debian_bundle, "KEYRING", keyring)
    monkeypatch.setattr(debian_bundle.time, "sleep", lambda seconds: None)
    return tmp_path / "log"


def test_the_pinned_versions_are_fetched_unpacked_and_tried(log: Path) -> None:
    wrapper = debian_bundle.fetch(BUNDLE)
    assert os.access(wrapper, os.X_OK)
    assert (wrapper.parent / "VERSIONS").read_text() == "library_2.0_i386.deb\nprogram_1.0_i386.deb\n"
    assert not (wrapper.parent / "debs").exists()


def test_a_program_with_the_machines_loader_has_its_own_libraries_and_environment(log: Path) -> None:
    tells = "printf '#!/bin/sh\\necho $LD_LIBRARY_PATH $FONTS \"$@\"\\n' > \"$3/usr/bin/program\"\n"
    tool = Path(os.environ["PATH"].split(":")[0]) / "dpkg-deb"
    tool.write_text(DPKG + tells)
    wrapper = debian_bundle.fetch(replace(BUNDLE, loader="", environment=("FONTS=$root/fonts",), answers="/usr/lib "))
    root = wrapper.parent / "root"
    said = subprocess.run([str(wrapper), "a b"], capture_output=True, text=True).stdout
    assert said == f"{root}/usr/lib {root}/fonts a b\n"


def test_what_is_there_is_not_fetched_again(log: Path) -> None:
    debian_bundle.fetch(BUNDLE)
    calls = log.read_text()
    debian_bundle.fetch(BUNDLE)
    assert log.read_text() == calls


def test_a_library_that_debian_has_replaced_gives_way_to_the_new_one(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AVAILABLE", "program=1.0")
    wrapper = debian_bundle.fetch(BUNDLE)
    assert "library_9.9" in (wrapper.parent / "VERSIONS").read_text()
    assert "Debian has replaced a version; using library_9.9_i386.deb" in capsys.readouterr().out


def test_the_interpreter_itself_is_never_another_version(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVAILABLE", "library=2.0")
    with pytest.raises(BundleError, match=r"Version '1\.0' for 'program' was not found"):
        debian_bundle.fetch(BUNDLE)
    assert not debian_bundle.present(BUNDLE)


def test_without_a_network_it_tries_three_times_and_says_what_to_do(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINE", "1")
    with pytest.raises(BundleError, match=r"(?s)DEBIAN_MIRROR.*Temporary failure resolving"):
        debian_bundle.fetch(BUNDLE)
    assert log.read_text().count(" update") == debian_bundle.TRIES


def test_a_program_that_does_not_answer_is_not_kept(log: Path) -> None:
    with pytest.raises(BundleError, match=r"does not run.*32-bit programs"):
        debian_bundle.fetch(replace(BUNDLE, answers="word 16"))
    assert not (debian_bundle.CACHE / "thing").exists()


def test_nothing_of_the_systems_apt_state_is_used(log: Path) -> None:
    debian_bundle.fetch(BUNDLE)
    configuration = next(debian_bundle.CACHE.rglob("apt.conf")).read_text()
    for setting in ("Dir::State", "Dir::State::status", "Dir::Cache", "Dir::Etc::SourceList"):
        assert f'{setting} "{debian_bundle.CACHE}' in configuration
    assert 'Dir::Etc::SourceParts "-"' in configuration


def test_a_machine_without_debians_keys_is_told_which_package_has_them(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_bundle, "KEYRING", Path("/nonexistent/keys.gpg"))
    with pytest.raises(BundleError, match="install the package debian-archive-keyring"):
        debian_bundle.fetch(BUNDLE)
