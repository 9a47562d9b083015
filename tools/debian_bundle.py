"""Fetches programs from Debian into .cache without installing anything: not on the system, not as root.

    python3 tools/debian_bundle.py micropython32 mbpoll

apt-get downloads with state, cache and sources of its own; `dpkg-deb -x` unpacks; a wrapper starts the program through
the unpacked loader, so neither its architecture nor its libraries need be on the machine.  A program that starts itself again
(chromium) has the machine's own loader and C library, which must be as new as the suite's.  Runs on a bare Python 3.11.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TRIES = 3


class BundleError(Exception):
    """It could not be had; the text says why and what to do."""


@dataclass(frozen=True)
class Bundle:
    """One program with every library it needs.  A version that a point release has replaced gives way to the new."""

    name: str
    suite: str
    architecture: str
    packages: dict[str, str]  # package: the version that was tested
    program: str  # below the unpacked root
    loader: str  # "": the machine's
    libraries: tuple[str, ...]
    probe: tuple[str, ...]  # arguments that must make the program answer
    answers: str
    exact: tuple[str, ...] = ()  # packages for which no other version will do
    environment: tuple[str, ...] = ()  # NAME=value of the wrapper, $root in it


BUNDLES = {
    "micropython32": Bundle(
        name="micropython32",
        suite="trixie",
        architecture="i386",
        packages={
            "micropython": "1.25.0+ds-1",
            "libc6": "2.41-12+deb13u4",
            "libffi8": "3.4.8-2",
            "libgcc-s1": "14.2.0-19",
            "libmbedtls21": "3.6.6-0.1~deb13u1",
            "libmbedcrypto16": "3.6.6-0.1~deb13u1",
            "libmbedx509-7": "3.6.6-0.1~deb13u1",
        },
        program="usr/bin/micropython",
        loader="usr/lib/ld-linux.so.2",
        libraries=("usr/lib/i386-linux-gnu", "lib/i386-linux-gnu"),
        probe=("-c", "import sys; print('word', 32 if sys.maxsize < 2**32 else 64)"),
        answers="word 32",
        exact=("micropython",),
    ),
    "mbpoll": Bundle(
        name="mbpoll",
        suite="trixie",
        architecture="amd64",
        packages={"mbpoll": "1.5.2-1", "libmodbus5": "3.1.11-2", "libc6": "2.41-12+deb13u4"},
        program="usr/bin/mbpoll",
        loader="usr/lib64/ld-linux-x86-64.so.2",
        libraries=("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"),
        probe=("-h",),
        answers="usage : mbpoll",
    ),
    "chrony": Bundle(
        name="chrony",
        suite="trixie",
        architecture="amd64",
        packages={
            "chrony": "4.6.1-3+deb13u2",
            "libc6": "2.41-12+deb13u4",
            "libcap2": "1:2.75-10+deb13u1+b3",
            "libgnutls30t64": "3.8.9-3+deb13u4",
            "libnettle8t64": "3.10.1-1",
            "libhogweed6t64": "3.10.1-1",
            "libseccomp2": "2.6.0-2",
            "libp11-kit0": "0.25.5-3",
            "libidn2-0": "2.3.8-2",
            "libunistring5": "1.3-2",
            "libtasn1-6": "4.20.0-2+deb13u1",
            "libgmp10": "2:6.3.0+dfsg-3",
            "libffi8": "3.4.8-2",
        },
        program="usr/sbin/chronyd",
        loader="usr/lib64/ld-linux-x86-64.so.2",
        libraries=("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"),
        probe=("--version",),
        answers="chronyd (chrony) version",
    ),
    "mosquitto": Bundle(
        name="mosquitto",
        suite="trixie",
        architecture="amd64",
        packages={
            "mosquitto": "2.0.21-1",
            "libc6": "2.41-12+deb13u5",
            "libcap2": "1:2.75-10+deb13u1+b3",
            "libcjson1": "1.7.18-3.1+deb13u1",
            "libdlt2": "2.18.10-10+b1",
            "libev4t64": "1:4.33-2.1+b1",
            "libmosquitto1": "2.0.21-1",
            "libssl3t64": "3.5.9-1~deb13u1",
            "libsystemd0": "257.13-1~deb13u1",
            "libuv1t64": "1.50.0-2",
            "libwebsockets19t64": "4.3.5-1+deb13u3",
            "libwrap0": "7.6.q-36",
            "libzstd1": "1.5.7+dfsg-1",
            "zlib1g": "1:1.3.dfsg+really1.3.1-1+deb13u1",
        },
        program="usr/sbin/mosquitto",
        loader="usr/lib64/ld-linux-x86-64.so.2",
        libraries=("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"),
        probe=("-h",),
        answers="mosquitto version 2",
    ),
    # a Python that Home Assistant runs on (tools/mqtt/ha.py fetches it with Home Assistant; `make setup` does not)
    "python313": Bundle(
        name="python313",
        suite="trixie",
        architecture="amd64",
        packages={
            "python3.13-minimal": "3.13.5-2+deb13u5",
            "libpython3.13-minimal": "3.13.5-2+deb13u5",
            "libpython3.13-stdlib": "3.13.5-2+deb13u5",
            "libbz2-1.0": "1.0.8-6",
            "libc6": "2.41-12+deb13u5",
            "libexpat1": "2.9.0-1~deb13u1",
            "libffi8": "3.4.8-2",
            "libgcc-s1": "14.2.0-19",
            "liblzma5": "5.8.1-1+deb13u2",
            "libsqlite3-0": "3.46.1-7+deb13u2",
            "libssl3t64": "3.5.9-1~deb13u1",
            "libstdc++6": "14.2.0-19",
            "libuuid1": "2.41.5-0+deb13u1",
            "libzstd1": "1.5.7+dfsg-1",
            "zlib1g": "1:1.3.dfsg+really1.3.1-1+deb13u1",
        },
        program="usr/bin/python3.13",
        loader="usr/lib64/ld-linux-x86-64.so.2",
        libraries=("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"),
        probe=("-c", "import asyncio, sqlite3, ssl, sys; print('python', sys.version)"),
        answers="python 3.13",
    ),
    "qemu-user": Bundle(
        name="qemu-user",
        suite="bookworm",  # trixie's 10.0 is linked statically, so it loads no plugins
        architecture="amd64",
        packages={
            "qemu-user": "1:7.2+dfsg-7+deb12u18+b3",
            "libc6": "2.36-9+deb12u14",
            "libcapstone4": "4.0.2-5",
            "libffi8": "3.4.4-1",
            "libgcc-s1": "12.2.0-14+deb12u1",
            "libglib2.0-0": "2.74.6-2+deb12u9",
            "libgmp10": "2:6.2.1+dfsg1-1.1",
            "libgnutls30": "3.7.9-2+deb12u7",
            "libhogweed6": "3.8.1-2",
            "libidn2-0": "2.3.3-1+b1",
            "libnettle8": "3.8.1-2",
            "libnuma1": "2.0.16-1",
            "libp11-kit0": "0.24.1-2",
            "libpcre2-8-0": "10.42-1",
            "libtasn1-6": "4.19.0-2+deb12u1",
            "libunistring2": "1.0-2",
            "liburing2": "2.3-3",
            "zlib1g": "1:1.2.13.dfsg-1",
        },
        program="usr/bin/qemu-i386",
        loader="lib64/ld-linux-x86-64.so.2",
        libraries=("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"),
        probe=("--version",),
        answers="qemu-i386 version 7.2",
    ),
    "chromium": Bundle(
        name="chromium",
        suite="bookworm",  # its programs need no newer C library than most machines have
        architecture="amd64",
        packages={
            "chromium-headless-shell": "150.0.7871.100-1~deb12u1",
            "chromium-common": "150.0.7871.100-1~deb12u1",
            "fonts-dejavu-core": "2.37-6",
            "fontconfig-config": "2.14.1-4",
            "libasound2": "1.2.8-1+b1",
            "libasyncns0": "0.8-6+b3",
            "libatk1.0-0": "2.46.0-5",
            "libatspi2.0-0": "2.46.0-5",
            "libblkid1": "2.38.1-5+deb12u3",
            "libbrotli1": "1.0.9-2+b6",
            "libbsd0": "0.11.7-2",
            "libcap2": "1:2.66-4+deb12u3+b1",
            "libdav1d6": "1.0.0-2+deb12u1",
            "libdbus-1-3": "1.14.10-1~deb12u1",
            "libdouble-conversion3": "3.2.1-1",
            "libdrm2": "2.4.114-1+b1",
            "libexpat1": "2.5.0-1+deb12u2",
            "libffi8": "3.4.4-1",
            "libflac12": "1.4.2+ds-2",
            "libfontconfig1": "2.14.1-4",
            "libfreetype6": "2.12.1+dfsg-5+deb12u4",
            "libgbm1": "22.3.6-1+deb12u2",
            "libgcc-s1": "12.2.0-14+deb12u1",
            "libgcrypt20": "1.10.1-3+deb12u1",
            "libglib2.0-0": "2.74.6-2+deb12u9",
            "libgpg-error0": "1.46-1",
            "libgraphite2-3": "1.3.14-1+deb12u1",
            "libharfbuzz-subset0": "6.0.0+dfsg-3",
            "libharfbuzz0b": "6.0.0+dfsg-3",
            "libjpeg62-turbo": "1:2.1.5-2",
            "liblz4-1": "1.9.4-1",
            "liblzma5": "5.4.1-1+deb12u1",
            "libmd0": "1.0.4-2",
            "libminizip1": "1.1-8+deb12u1",
            "libmount1": "2.38.1-5+deb12u3",
            "libmp3lame0": "3.100-6",
            "libmpg123-0": "1.31.2-1+deb12u1",
            "libnspr4": "2:4.35-1",
            "libnss3": "2:3.87.1-1+deb12u2",
            "libogg0": "1.3.5-3",
            "libopenh264-7": "2.3.1+dfsg-3+deb12u2",
            "libopus0": "1.3.1-3",
            "libpcre2-8-0": "10.42-1",
            "libpng16-16": "1.6.39-2+deb12u5",
            "libpulse0": "16.1+dfsg1-2+b1",
            "libselinux1": "3.4-1+b6",
            "libsndfile1": "1.2.0-1+deb12u1",
            "libsqlite3-0": "3.40.1-2+deb12u2",
            "libstdc++6": "12.2.0-14+deb12u1",
            "libsystemd0": "252.39-1~deb12u2",
            "libudev1": "252.39-1~deb12u2",
            "libvorbis0a": "1.3.7-1",
            "libvorbisenc2": "1.3.7-1",
            "libwayland-server0": "1.21.0-1",
            "libx11-6": "2:1.8.4-2+deb12u2",
            "libx11-data": "2:1.8.4-2+deb12u2",
            "libx11-xcb1": "2:1.8.4-2+deb12u2",
            "libxau6": "1:1.0.9-1",
            "libxcb1": "1.15-1",
            "libxcomposite1": "1:0.4.5-1",
            "libxdamage1": "1:1.1.6-1",
            "libxdmcp6": "1:1.1.2-3",
            "libxext6": "2:1.3.4-1+b1",
            "libxfixes3": "1:6.0.0-2",
            "libxi6": "2:1.8-1+b1",
            "libxkbcommon0": "1.5.0-1",
            "libxnvctrl0": "525.85.05-3~deb12u1",
            "libxrandr2": "2:1.5.2-2+b1",
            "libxrender1": "1:0.9.10-1.1",
            "libzstd1": "1.5.4+dfsg2-5",
            "xkb-data": "2.35.1-1",
            "zlib1g": "1:1.2.13.dfsg-1",
        },
        program="usr/lib/chromium/chromium-headless-shell",
        loader="",
        libraries=("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio"),
        probe=("--no-sandbox", "--disable-gpu", "--dump-dom", "data:text/html,<p>speaks</p>"),
        answers="<p>speaks</p>",
        environment=("FONTCONFIG_SYSROOT=$root",),
    ),
}


def say(text: str) -> None:
    """One line of progress."""
    print(f"  {text}", flush=True)


def present(bundle: Bundle) -> bool:
    """True when the bundle's wrapper is there and was made for these packages."""
    record = CACHE / bundle.name / "WANTED"
    return (CACHE / bundle.name / bundle.name).exists() and record.exists() and record.read_text() == _wanted(bundle)


def fetch(bundle: Bundle) -> Path:
    """Downloads, unpacks and tries the bundle; gives the path of its wrapper.  Raises BundleError."""
    wrapper = CACHE / bundle.name / bundle.name
    if present(bundle):
        return wrapper
    _check_machine()
    CACHE.mkdir(exist_ok=True)
    new = CACHE / f"{bundle.name}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        debs = _download(bundle, new / "debs")
        for deb in debs:
            _run(["dpkg-deb", "-x", str(deb), str(new / "root")], f"unpacking {deb.name}")
        _wrapper(bundle, new / bundle.name)
        _probe(bundle, new / bundle.name)
        (new / "VERSIONS").write_text("".join(f"{deb.name}\n" for deb in debs))
        (new / "WANTED").write_text(_wanted(bundle))
        shutil.rmtree(new / "debs")
        shutil.rmtree(CACHE / bundle.name, ignore_errors=True)
        new.rename(CACHE / bundle.name)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return wrapper


def _wanted(bundle: Bundle) -> str:
    return f"{bundle.suite} {bundle.architecture} {sorted(bundle.packages.items())}\n"


def _check_machine() -> None:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise BundleError(f"needs x86-64 Linux, this is {platform.system()} on {platform.machine()}")
    missing = [name for name in ("apt-get", "dpkg-deb") if not shutil.which(name)]
    if missing:
        raise BundleError(f"needs {' and '.join(missing)}, that is, Debian or a relative of it")
    if not KEYRING.exists():
        raise BundleError(f"needs Debian's archive keys in {KEYRING}: install the package debian-archive-keyring")


def _configuration(bundle: Bundle) -> Path:
    """apt's private state and sources; the system's own proxy settings still apply."""
    base = CACHE / "apt" / f"{bundle.suite}-{bundle.architecture}"
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (base / name).mkdir(parents=True, exist_ok=True)
    (base / "state" / "status").touch()
    (base / "etc" / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {bundle.suite} main\n")
    settings = {
        "Dir::State": base / "state",
        "Dir::State::status": base / "state" / "status",
        "Dir::Cache": base / "cache",
        "Dir::Etc::SourceList": base / "etc" / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::Etc::Preferences": "-",
        "Dir::Etc::PreferencesParts": "-",
        "APT::Architecture": bundle.architecture,
        "APT::Architectures": bundle.architecture,
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
        "Acquire::Retries": "3",
    }
    file = base / "apt.conf"
    lines = ["#clear APT::Update;\n", "#clear DPkg::Post-Invoke;\n"]  # the system's hooks would touch the system
    lines += [f'{key} "{value}";\n' for key, value in settings.items()]
    file.write_text("".join(lines))
    return file


def _download(bundle: Bundle, into: Path) -> list[Path]:
    into.mkdir()
    configuration = _configuration(bundle)
    apt = ["apt-get", "-q", "-c", str(configuration)]
    lists = configuration.parent / "state" / "lists"
    if not any(lists.glob("*_Packages*")):
        say(f"reading Debian's package list ({bundle.suite}, {bundle.architecture})")
        _retry([*apt, "update"], into, "reading the package list")
    say(f"downloading {', '.join(bundle.packages)}")
    pinned = [f"{name}={version}" for name, version in bundle.packages.items()]
    if _try([*apt, "download", *pinned], into) is not None:
        # a point release may have replaced a pinned version: take today's list and, where allowed, its version
        _retry([*apt, "update"], into, "reading the package list again")
        if _try([*apt, "download", *pinned], into) is not None:
            loose = [f"{name}={bundle.packages[name]}" if name in bundle.exact else name for name in bundle.packages]
            _retry([*apt, "download", *loose], into, f"downloading {' '.join(loose)}")
    debs = sorted(into.glob("*.deb"))
    tested = {f"{name}_{version.replace(':', '%3a')}" for name, version in bundle.packages.items()}
    for deb in debs:
        if deb.name.rsplit("_", 1)[0] not in tested:
            say(f"note: Debian has replaced a version; using {deb.name}")
    if len(debs) != len(bundle.packages):
        raise BundleError(f"Debian gave {[deb.name for deb in debs]} for {list(bundle.packages)}")
    return debs


def _try(command: list[str], cwd: Path) -> str | None:
    """None when it went well, else what it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    failed = done.returncode or "Failed to fetch" in done.stderr
    return (done.stderr or done.stdout).strip() if failed else None


def _retry(command: list[str], cwd: Path, doing: str) -> None:
    for attempt in range(1, TRIES + 1):
        error = _try(command, cwd)
        if error is None:
            return
        if attempt < TRIES:
            say(f"{doing} failed, trying again ({attempt + 1} of {TRIES})")
            time.sleep(2 * attempt)
    raise BundleError(f"{doing} failed ({MIRROR}; another mirror: DEBIAN_MIRROR=http://...):\n{error}")


def _run(command: list[str], doing: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BundleError(f"{doing} failed: {(done.stderr or done.stdout).strip()}")


def _wrapper(bundle: Bundle, path: Path) -> None:
    libraries = ":".join(f"$root/{name}" for name in bundle.libraries)
    whose = "its own loader and" if bundle.loader else "its own"
    exports = "".join(f'export {name}="{value}"\n' for name, _, value in (pair.partition("=") for pair in bundle.environment))
    start = f'"$root/{bundle.loader}" --library-path "{libraries}"' if bundle.loader else f'env LD_LIBRARY_PATH="{libraries}"'
    path.write_text(
        "#!/bin/sh\n"
        f"# starts Debian's {bundle.program} ({bundle.architecture}) with {whose} libraries\n"
        'root="${0%/*}/root"\n'
        f'{exports}exec {start} "$root/{bundle.program}" "$@"\n'
    )
    path.chmod(0o755)


def _probe(bundle: Bundle, wrapper: Path) -> None:
    try:
        done = subprocess.run([str(wrapper), *bundle.probe], capture_output=True, text=True, timeout=30)
    except OSError as error:
        raise BundleError(f"{bundle.name} does not start: {error}") from error
    said = done.stdout + done.stderr
    if bundle.answers not in said:
        hint = " (the kernel may not run 32-bit programs)" if bundle.architecture == "i386" else ""
        raise BundleError(f"{bundle.name} does not run{hint}: status {done.returncode}, said {said.strip()!r}")


def main(names: list[str]) -> int:
    """Fetches each named bundle; 1 when one could not be had."""
    status = 0
    for name in names or BUNDLES:
        if name not in BUNDLES:
            print(f"no bundle {name!r} (there are {', '.join(BUNDLES)})", file=sys.stderr)
            return 2
        try:
            print(f"{name}: {fetch(BUNDLES[name])}")
        except BundleError as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
