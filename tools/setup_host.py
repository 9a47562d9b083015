"""Sets up everything the host side needs, below the tree: .venv and .cache.  `make setup` runs it; bare Python 3.11.

    python3 tools/setup_host.py          what is missing, at the pinned versions
    python3 tools/setup_host.py --lock   chooses the transitive versions again and writes requirements.lock
"""

from __future__ import annotations  # an older Python must get as far as main()'s message

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
STAMP = CACHE / "setup.stamp"
LOCK = ROOT / "requirements.lock"
STUBS = CACHE / "stubs"  # apart from .venv: they would shadow the host's own modules there
_REQUIRED = (("micropython32", "REQUIRE_MICROPYTHON32"), ("chromium", "REQUIRE_CHROMIUM"))
_STUB_MARK = "# stubs of board modules, kept apart in .cache/stubs"


def say(text: str) -> None:
    """One line of progress, with the time."""
    print(f"[setup {time.strftime('%H:%M:%S')}] {text}", flush=True)


def fail(text: str) -> None:
    """Ends with a message that says what to do."""
    print(f"[setup] {text}", file=sys.stderr)
    raise SystemExit(1)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One setup at a time: two would make one .venv.  Waits, and says for whom; the lock ends with its process at the latest."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            say(f"another setup is running (process {lock.read().strip() or 'unknown'}), waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def create_venv(where: Path) -> None:
    """A virtual environment with pip; says exactly what to install when this Python cannot make one."""
    if (where / "bin" / "pip").exists():
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.rmtree(where, ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "venv", str(where)], capture_output=True, text=True)
    if done.returncode or not (where / "bin" / "pip").exists():
        shutil.rmtree(where, ignore_errors=True)
        said = (done.stderr or done.stdout).strip()
        fail(
            f"this Python cannot make virtual environments. On Debian or Ubuntu:\n\n"
            f"    sudo apt-get install python3-venv        (or python{version}-venv)\n\nIt said: {said}"
        )


def pip(where: Path, *arguments: str) -> None:
    """Runs the environment's pip; three tries, since networks hiccup."""
    command = [str(where / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    said = ""
    for attempt in range(1, 4):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return
        said = done.stderr.strip() or done.stdout.strip()
        if attempt < 3:
            say(f"pip failed, trying again ({attempt + 1} of 3)")
            time.sleep(3 * attempt)
    fail(f"pip could not do: {' '.join(arguments)}\n{said}\nIs a package index reachable from here?")


def direct(group: str) -> list[str]:
    """The pins of one group in pyproject.toml."""
    import tomllib  # here, so that an older Python gets as far as main()'s message

    with (ROOT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["optional-dependencies"][group])


def locked() -> tuple[str, str]:
    """requirements.lock: the environment's part and the stubs' part."""
    text = LOCK.read_text()
    host, _, stubs = text.partition(_STUB_MARK)
    return host, stubs


def lock() -> None:
    """Installs the direct pins into a scratch environment and writes down everything that came with them."""
    with tempfile.TemporaryDirectory() as scratch:
        parts = []
        for group in ("host", "stubs"):
            where = Path(scratch) / group
            say(f"resolving the {group} group")
            create_venv(where)
            pip(where, "install", *direct(group))
            frozen = [str(where / "bin" / "python"), "-m", "pip", "freeze"]
            parts.append(subprocess.run(frozen, capture_output=True, text=True, check=True).stdout)
        head = "# Every version the host side uses; `make lock` writes this file from the pins in pyproject.toml.\n"
        LOCK.write_text(f"{head}{parts[0]}{_STUB_MARK}\n{parts[1]}")
    say(f"wrote {LOCK.name}: {sum(part.count('==') for part in parts)} packages")


def install() -> None:
    """The environment and the stubs, as locked."""
    host, stubs = locked()
    create_venv(VENV)
    mark = VENV / "installed"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == digest and STUBS.exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "host.txt"
        wanted.write_text(host)
        say(f"installing {host.count('==')} pinned packages into .venv (a minute or so)")
        pip(VENV, "install", "-r", str(wanted))
        wanted.write_text(stubs)
        say("fetching the ESP32 type stubs")
        shutil.rmtree(STUBS, ignore_errors=True)
        pip(VENV, "install", "--no-deps", "--target", str(STUBS), "-r", str(wanted))
    mark.write_text(digest)


def debian_programs() -> None:
    """What comes from Debian; without it the tests that need it skip, so this only warns (unless required)."""
    sys.path.insert(0, str(ROOT / "tools"))
    import debian_bundle

    programs = {
        "micropython32": "the 32-bit MicroPython",
        "mbpoll": "mbpoll, a Modbus peer for tests",
        "chrony": "chrony, an NTP peer for tests",
        "mosquitto": "mosquitto, an MQTT broker for tests",
        "qemu-user": "qemu-user, under which the simulated board runs at a chip's speed",
        "chromium": "Chromium (105 MB), which opens the operator's page in tests",
    }
    for name, what in programs.items():
        bundle = debian_bundle.BUNDLES[name]
        if debian_bundle.present(bundle):
            continue
        say(f"fetching {what} from Debian {bundle.suite}; nothing is installed on the system")
        try:
            debian_bundle.fetch(bundle)
        except debian_bundle.BundleError as error:
            say(f"WARNING: no {what}: {error}\n    Everything else works; the tests that need it are skipped.")
            for variable in [each for which, each in _REQUIRED if which == name and required(each)]:
                fail(f"{variable} is set, so this is an error")


def page_judge() -> None:
    """axe-core, which judges the operator's page in tests; without npm those skip, so this only warns (unless required)."""
    sys.path.insert(0, str(ROOT))
    from tools.page import packages

    try:
        packages.axe()
    except packages.PackageError as error:
        say(f"WARNING: {error}\n    Everything else works; nobody judges the page's accessibility in tests.")
        if required("REQUIRE_CHROMIUM"):
            fail("REQUIRE_CHROMIUM is set, so this is an error")


def required(variable: str) -> bool:
    """True where that environment variable is set: what is missing is an error then."""
    return os.environ.get(variable, "") not in ("", "0")


def chip_clock() -> None:
    """Compiles the plugin that holds the interpreter to a chip's speed; only warns where that cannot be (unless required)."""
    sys.path.insert(0, str(ROOT))
    from tools.sim.board.chip import build, profiles, start

    try:
        if not build.plugin().exists():
            say("compiling the chip's clock")
        build.build()
        reason = start.missing()
        if reason is None:
            for name in profiles.PROFILES:
                start.wrapper(name)
    except build.ChipError as error:
        reason = str(error)
    if reason is None:
        return
    say(f"WARNING: no board at the chip's speed: {reason}\n    Everything else works; the tests that need it are skipped.")
    if required("REQUIRE_CHIP"):
        fail("REQUIRE_CHIP is set, so this is an error")


def main() -> None:
    """See the top of the file."""
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is started by whatever python3 there is)
        fail(f"needs Python 3.11 or newer, this is {sys.version.split()[0]} ({sys.executable})")
    if "--lock" in sys.argv[1:]:
        lock()
        return
    start = time.monotonic()
    with alone():
        everything(start)


def everything(start: float) -> None:
    """What is missing, one after the other."""
    install()
    debian_programs()
    page_judge()
    chip_clock()
    STAMP.write_text(time.strftime("%Y-%m-%d %H:%M:%S\n"))
    say(f"ready after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\n[setup] interrupted; what is there stays, and the next make goes on from it", file=sys.stderr)
        sys.exit(130)
