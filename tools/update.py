"""Updates the firmware of a board over the network, signed: `.venv/bin/python -m tools.update HOST --key FILE`.

--make-key writes a new key; --put-key PORT puts it on the board, over USB, once.  --image FILE sends an image of our own
(boards/BESS_ESP32*), for boards that have one.  The site file and its tables stay those of the board.  What was cut off goes on
where it was: run it again.  What is said on the wire, docs/deploy.md.
"""

import argparse
import hashlib
import hmac
import os
import re
import secrets
import socket
import sys
import tempfile
import time
from base64 import b64encode
from pathlib import Path

from tools import deploy, flash
from tools.build import boardfile, generation, partitions, stage
from tools.serial_line import LineError, RawPrompt

PORT = 8266
KEY_BYTES = 32
ON_BOARD = "keys/update.key"
ANSWER_S = 60.0
VERDICT_S = 240.0
ASK_S = 3.0
PATIENCE_S = 10.0  # without a word while the board compares
BLOCK = 4096  # of flash
BLOCK_DIGITS = 16  # of its hash, that the board tells
_STATE = re.compile(r"IS (.*?) (\d+) (\S+) (.*)")  # a stamp may be words: "as it was"


class UpdateError(Exception):
    """It did not work; the text says why."""


def make_key(file: Path) -> None:
    """A new key, for its owner alone.  UpdateError where there is one, or where it would be in the repository."""
    if file.resolve().is_relative_to(stage.ROOT):
        raise UpdateError(f"{file}: is in the repository; a key belongs elsewhere")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UpdateError(f"{file}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(secrets.token_bytes(KEY_BYTES))


def read_key(file: Path) -> bytes:
    """The key.  UpdateError where it is none."""
    try:
        key = file.read_bytes()
    except OSError as error:
        raise UpdateError(f"{file}: {error.strerror}; --make-key makes one") from None
    if len(key) != KEY_BYTES:
        raise UpdateError(f"{file}: has {len(key)} bytes, a key has {KEY_BYTES}")
    return key


def put_key(port: str, key: bytes) -> None:
    """Puts it on a board; control goes on.  UpdateError, LineError where it fails."""
    with RawPrompt(port, soft_reset=False) as board:
        board.run("LIVE = True\n" + (deploy.ONBOARD / "top.py").read_text())
        board.run(f"begin({ON_BOARD!r})\narriving.write(a2b_base64(b'{b64encode(key).decode()}'))")
        if board.run(f"end({ON_BOARD!r}, {hashlib.sha256(key).hexdigest()!r})").strip() != "good":
            raise UpdateError(f"{ON_BOARD}: did not arrive as it was sent")


class Line:
    """A connection of text lines."""

    def __init__(self, host: str, port: int, timeout_s: float = ANSWER_S) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
        except socket.gaierror:
            raise UpdateError(f"{host}: no address is known for that name; give the address itself") from None
        except OSError as error:
            raise UpdateError(f"{host}:{port}: {error}; is the update service in its site file, with this address?") from None
        self._heard = b""

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Sends all of it."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise UpdateError(f"the connection broke off ({error})") from None

    def line(self) -> str:
        """The next line, "" for none: the board has closed."""
        while b"\n" not in self._heard:
            try:
                more = self._socket.recv(4096)
            except OSError as error:
                raise UpdateError(f"the connection broke off ({error})") from None
            if not more:
                return ""
            self._heard += more
        text, _, self._heard = self._heard.partition(b"\n")
        return text.decode(errors="replace")


def first_line(key: bytes, content: bytes, number: int, restart: bool, what: str = "UPDATE") -> bytes:
    """What asks for an update: signed, and with it the manifest and the hashes in it, or (IMAGE) an image."""
    text = f"{what} {number} {len(content)} {hashlib.sha256(content).hexdigest()} {int(restart)}"
    return f"{text} {hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}\n".encode()


def refusal(host: str, why: str) -> UpdateError:
    """What the board says against it, and what to do where a number made of this computer's time is the reason."""
    hint = ": is this computer's clock right? It makes the numbers, or --number gives one" if "only newer ones" in why else ""
    return UpdateError(f"{host} refuses it: {why}{hint}")


def send(host: str, port: int, key: bytes, parcel: deploy.Parcel, restart: bool) -> None:
    """Sends a generation.  UpdateError with what the board says against it."""
    with Line(host, port) as line:
        line.send(first_line(key, parcel.manifest, parcel.number, restart))
        sent = count = 0
        told = time.monotonic()
        while True:
            text = line.line()
            word, _, rest = text.partition(" ")
            if word == "GO":
                line.send(parcel.manifest)
                print("  it is signed; the board compares what it has, a minute or more: control goes on", flush=True)
                told = time.monotonic()
            elif word == ".":
                if time.monotonic() - told > PATIENCE_S:
                    told = time.monotonic()
                    print("  the board is at it", flush=True)
            elif word == "WANT":
                path = rest.partition(" ")[2]
                content = (parcel.source / path).read_bytes()
                line.send(content)
                count, sent = count + 1, sent + len(content)
                print(f"  {path}: {len(content):,} bytes", flush=True)
            elif word == "DONE":
                print(f"{count} of {len(parcel.files)} files were sent ({sent:,} bytes)")
                print(f"generation {parcel.stamp} is the next start")
                return
            elif word == "NO":
                raise refusal(host, rest)
            else:
                raise UpdateError("the connection broke off; run it again, and it goes on where it was")


def image(file: Path) -> bytes:
    """The application in the file of an image of our own, be it one for the whole flash.  UpdateError where it is none."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UpdateError(f"{file}: {error.strerror}") from None
    name = flash.image_name(file)
    if name not in boardfile.OWN_IMAGES:
        ours = ", ".join(boardfile.OWN_IMAGES)
        raise UpdateError(f"{file}: is {name or 'no image that is known here'}; those that test themselves are {ours}")
    first = boardfile.FLASH_OFFSET[boardfile.OWN_IMAGES[name][0]]
    try:
        at = partitions.TABLE_OFFSET - first
        table = partitions.unpacked(content[at : at + partitions.TABLE_BYTES])
    except ValueError:
        return content  # the application alone
    return content[next(part.offset for part in table if part.kind == "app") - first :]


def send_image(host: str, port: int, key: bytes, content: bytes, number: int, restart: bool) -> int:
    """Sends an image; gives how many of its blocks the board had not.  UpdateError with what the board says against it."""
    blocks = -(-len(content) // BLOCK)
    sent = told = 0
    with Line(host, port) as line:
        line.send(first_line(key, content, number, restart, "IMAGE"))
        while True:
            text = line.line()
            word, _, rest = text.partition(" ")
            if word == "HAS":
                block = int(rest.split()[0])
                part = content[block * BLOCK : (block + 1) * BLOCK]
                same = rest.split()[1] == hashlib.sha256(part).hexdigest()[:BLOCK_DIGITS]
                line.send(b"SAME\n" if same else b"BLOCK\n" + part)
                sent += not same
                if 10 * (block + 1) // blocks > told:
                    told = 10 * (block + 1) // blocks
                    print(f"  {10 * told} %: {block + 1} of {blocks} blocks, {sent} of them sent", flush=True)
            elif word == "DONE":
                print(f"image {hashlib.sha256(content).hexdigest()[:8]} is the next start")
                return sent
            elif word == "NO":
                raise refusal(host, rest)
            elif word not in ("GO", "."):
                raise UpdateError("the connection broke off; run it again, and it goes on where it was")


def state(host: str, port: int) -> tuple[str, int, bool, str] | None:
    """(stamp, number, on trial, news) of what the board runs; None while it does not answer."""
    try:
        with Line(host, port, ASK_S) as line:
            line.send(b"STATE\n")
            said = _STATE.fullmatch(line.line())
    except UpdateError:
        return None
    return (said[1], int(said[2]), said[3] not in ("0", "False"), said[4]) if said else None


def verdict(host: str, port: int, number: int, wait_s: float = VERDICT_S) -> str:
    """Waits for the self-test; "" when the generation of that number has passed, else why not."""
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        found = state(host, port)
        if found and found[1] == number and not found[2]:
            return found[3]
        if found and found[1] != number and found[3]:
            return found[3]
        time.sleep(ASK_S)
    return f"nothing was heard of a self-test within {wait_s:g} s"


def pack(into: Path, march: str) -> deploy.Parcel:
    """The firmware as a generation, without a site: the board has its own."""
    made = stage.stage(stage.ROOT, into, march)
    files = generation.files_of(made)
    return deploy.Parcel(into, files, {}, generation.number_now(), stage.generation(into, made), True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="?", help="address of the board")
    parser.add_argument("--key", type=Path, help="file of the site's key")
    parser.add_argument("--make-key", type=Path, metavar="FILE", help="make a new key")
    parser.add_argument("--put-key", metavar="PORT", help="put the key on the board at this serial port")
    parser.add_argument("--port", type=int, default=PORT, help="TCP port of the board")
    parser.add_argument("--image", type=Path, metavar="FILE", help="send this image of our own, for a board that runs one")
    parser.add_argument("--board", default="lilygo_t_2can", help="a name from boards/, or the path of a board file")
    parser.add_argument("--march", help="machine code of viper functions (default: the board's chip)")
    parser.add_argument("--number", type=int, help="of the generation (default: made of the time)")
    parser.add_argument("--no-restart", action="store_true", help="the board starts it at its next start")
    return parser.parse_args()


def _update_image(arguments: argparse.Namespace) -> int:
    key = read_key(arguments.key)
    content = image(arguments.image)
    number = arguments.number or generation.number_now()
    name = hashlib.sha256(content).hexdigest()[:8]
    print(f"image {name}, number {number}: {len(content):,} bytes", flush=True)
    send_image(arguments.host, arguments.port, key, content, number, not arguments.no_restart)
    return _end(arguments, number, f"image {name}")


def _update(arguments: argparse.Namespace) -> int:
    key = read_key(arguments.key)
    march = arguments.march or deploy.MARCH[boardfile.load(arguments.board)["chip"]]
    with tempfile.TemporaryDirectory() as scratch:
        parcel = pack(Path(scratch), march)
        if arguments.number:
            parcel.number = arguments.number
        print(f"generation {parcel.stamp}, number {parcel.number}: {len(parcel.files)} files", flush=True)
        send(arguments.host, arguments.port, key, parcel, not arguments.no_restart)
    return _end(arguments, parcel.number, f"generation {parcel.stamp}")


def _end(arguments: argparse.Namespace, number: int, what: str) -> int:
    if arguments.no_restart:
        return 0
    print("the board restarts, and tests itself", flush=True)
    why = verdict(arguments.host, arguments.port, number)
    if why:
        raise UpdateError(why)
    print(f"{what} runs, and has passed its self-test")
    return 0


def main() -> int:
    """0 when it is done."""
    arguments = _arguments()
    try:
        if arguments.make_key:
            make_key(arguments.make_key)
            print(f"{arguments.make_key}: a new key; keep it off the board's network, and out of every repository")
            return 0
        if not arguments.key or not (arguments.put_key or arguments.host):
            print(".venv/bin/python -m tools.update HOST --key FILE; see --help", file=sys.stderr)
            return 2
        if arguments.put_key:
            put_key(arguments.put_key, read_key(arguments.key))
            print(f"{ON_BOARD}: is on the board")
            return 0
        return _update_image(arguments) if arguments.image else _update(arguments)
    except (UpdateError, LineError, boardfile.BoardError, stage.CompileError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
