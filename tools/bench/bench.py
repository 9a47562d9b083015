"""Speed, one JSON object a line with metric, value and unit: `make bench` (ARGS="cycle" picks by name).

Every file in tools/bench/benches/ is a subject; every function in it whose name begins with bench_ is run and yields
(metric, value, unit).  A bench that cannot run here says so on stderr and fails the command.
"""

import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterator

from host_tests import shims

shims.install()

from tools.bench import benches  # noqa: E402

Bench = Callable[[], Iterator[tuple[str, float, str]]]


def registered() -> dict[str, Bench]:
    """Every bench by name, in file order."""
    found: dict[str, Bench] = {}
    for info in pkgutil.iter_modules(benches.__path__):
        module = importlib.import_module(f"tools.bench.benches.{info.name}")
        for name, function in vars(module).items():
            if name.startswith("bench_") and getattr(function, "__module__", "") == module.__name__:
                found[name.removeprefix("bench_")] = function
    return found


def main(wanted: list[str]) -> int:
    """Runs the benches whose names contain one of `wanted`, all without it."""
    known = registered()
    chosen = [name for name in known if not wanted or any(part in name for part in wanted)]
    if not chosen:
        print(f"no bench named like {wanted}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    status = 0
    for number, name in enumerate(chosen, 1):
        if sys.stderr.isatty():
            print(f"[{number}/{len(chosen)}] {name} ...", file=sys.stderr)
        try:
            for metric, value, unit in known[name]():
                print(json.dumps({"metric": metric, "value": round(value, 4), "unit": unit}), flush=True)
        except Exception as error:
            print(f"bench {name} failed: {type(error).__name__}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
