"""What a module's constants are counted at is what they take: of the heap from ROMFS, and none of it from a frozen image."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from mpremote.romfs import VfsRomWriter

from tools.build import stage
from tools.interpreters import Interpreter
from tools.sim.board import mpyfile

MODULES = 40
MEASURE = """
import gc, sys, vfs
with open(sys.argv[1], "rb") as file:
    vfs.mount(vfs.VfsRom(file.read()), "/rom")
sys.path[:] = ["/rom"]
for name in [line[:-1] for line in open(sys.argv[2])]:
    hasattr(sys, name)  # so that the table of names does not grow while they are loaded
modules = [kind + str(number) for kind in ("warm", "bare", "full") for number in range({modules})]
for name in modules:
    sys.modules[name] = None  # nor that of modules
    hasattr(sys, name), hasattr(sys, "/rom/" + name + ".mpy")
for name in modules:
    del sys.modules[name]
used = [0] * 4
for part in range(4):
    gc.collect()
    used[part] = gc.mem_alloc()
    for name in modules[part * {modules} : (part + 1) * {modules}]:
        __import__(name)
print((used[2] - used[1], used[3] - used[2]))
"""
FULL = {
    "texts": "'a text of module {} that is no name', 'and another of module {} than that'",
    "texts that every MicroPython has as names": "('int', 'str', 'value', 'a text of {} beside them')",
    "a text that is a name": "'some_function', 'a text of module {} beside it'",
    "bytes": "b'some bytes of module {}', b'', b''",
    "numbers": "1.5, {}.25, 1 << 29, 1 << 30, -(1 << 31), 1 << 40 + {}, 123456789012345678901234567890",
    "tuples": "(1, 2, ({}, 3, None), ()), ('a text of {} in a tuple', 2.5)",
    "functions in a function": "lambda: 0, lambda n: (lambda: n), [n for n in ()], (n for n in ()), 2.5",
    "names": "name_a{0}, name_b{0}, name_c{0}, name_d{0}, name_e{0}, name_f{0}, name_g{0}, name_h{0}, name_i{0}",
}
SOURCE = "def some_function():\n return {}\n"
# what a module has besides, bare and full: nothing of a class body stays, nor of a function that is run once
CLASS_BARE = """
class Some:
 def one(self): return 0
 def two(self): return 0
"""
CLASS_FULL = """
class Some:
 def one(self):
  def inner():
   yield self
  return inner, [n for n in ()]
 def two(self): return lambda: 0
"""
BESIDE = {
    "functions in methods": (CLASS_BARE, CLASS_FULL),
    "machine code": ("def f(a: int) -> int:\n return a\n", "@micropython.viper\ndef f(a: int) -> int:\n return a\n"),
    "machine code in a method": (
        "class Some:\n def f(self): return 0\n", "class Some:\n @micropython.native\n def f(self): return 0\n",
    ),
    "machine code with functions in it": (
        "def f(a):\n return 0\n", "@micropython.native\ndef f(a):\n return lambda: 0\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*FULL, *BESIDE])
def test_constants_are_counted_as_they_are_measured(mp32: Interpreter, tmp_path: Path, kind: str) -> None:
    writer = VfsRomWriter()
    names: set[str] = set()
    counted: dict[int, int] = {}
    for number in range(MODULES):
        found = {}
        bare_source, full_source = BESIDE.get(kind, ("", ""))
        constants = FULL.get(kind, "0").replace("{0}", str(number)).replace("{}", str(number))
        bare_source, full_source = SOURCE.format("0") + bare_source, SOURCE.format(constants) + full_source
        for name, source in (("warm", full_source), ("bare", bare_source), ("full", full_source)):
            file = tmp_path / "one.mpy"
            stage.compile_file(source, f"{name}{number}.py", mp32.march, file)
            writer.mkfile(f"{name}{number}.mpy", file.read_bytes())
            found[name] = mpyfile.read(file)
            names |= found[name].names
        counted[number] = found["full"].constant_bytes(names) - found["bare"].constant_bytes(names)
    (tmp_path / "x.img").write_bytes(bytes(writer.finalise()))
    (tmp_path / "names").write_text("".join(f"{name}\n" for name in sorted(names)))
    (tmp_path / "measure.py").write_text(MEASURE.format(modules=MODULES))
    command = [*mp32.command, "-X", "heapsize=1M", "measure.py", "x.img", "names"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    bare, full = (int(word) for word in done.stdout.strip("()\n").split(","))
    total = sum(counted.values())
    assert total >= 16 * len(counted)
    assert abs(full - bare - total) <= 0.03 * total + 32, (full - bare, total)


KNOWN = """
import json, micropython
for text in json.load(open("texts.json")):
    micropython.qstr_info()
    hasattr(micropython, text)  # makes it a name, if it is none
micropython.qstr_info()
"""


def test_texts_that_are_names_everywhere_are_known_to_be(mp32: Interpreter, tmp_path: Path) -> None:
    stage.stage(stage.ROOT, tmp_path / "tree", mp32.march, frozen=True)
    modules = [mpyfile.read(file) for file in (tmp_path / "tree").rglob("*.mpy")]
    names = set().union(*(module.names for module in modules))
    texts = sorted({text for module in modules for text in module.texts if text not in names and len(text) < 255})
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    (tmp_path / "known.py").write_text(KNOWN)
    command = [*mp32.command, "-X", "heapsize=2M", "known.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    counts = [int(count) for count in re.findall(r"n_qstr=(\d+)", done.stdout)]
    known = {text for text, before, after in zip(texts, counts, counts[1:], strict=False) if before == after}
    assert len(counts) == len(texts) + 1 and known == mpyfile.BUILT_IN
