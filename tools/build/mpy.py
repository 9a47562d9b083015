"""Cross-compiles every device file for the ESP32 (xtensawin) into build/esp32: `make mpy`.  Any error fails it."""

import argparse
import shutil
import sys
from pathlib import Path

from tools.build import stage

TARGET = stage.ROOT / "build" / "esp32"


def main() -> int:
    """1 when a file does not compile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--march", default="xtensawin", help="machine code for viper functions (default: xtensawin)")
    parser.add_argument("--root", type=Path, default=stage.ROOT, help="the tree to compile (default: this one)")
    parser.add_argument("--into", type=Path, default=TARGET, help="where to (default: build/esp32)")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.into, ignore_errors=True)
    try:
        made = stage.stage(arguments.root, arguments.into, arguments.march)
    except stage.CompileError as error:
        print(error, file=sys.stderr)
        return 1
    size = sum((arguments.into / path).stat().st_size for path in made)
    stamp = stage.generation(arguments.into, made)
    print(f"generation {stamp}: {len(made)} files, {size} bytes, in {arguments.into} ({arguments.march})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
