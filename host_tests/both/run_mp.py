"""Runs the test functions of one file under MicroPython: `micropython run_mp.py ROOT test_file.py TREE`.

TREE is the root that firmware/ and lib/ are taken from: ROOT itself, or a staged one.

Prints one line a test and the traceback of each that fails; the exit status says whether all passed.
"""

import builtins
import gc
import io
import sys

root, path, tree = sys.argv[1:4]
sys.path[:] = [tree, tree + "/lib", path.rsplit("/", 1)[0], root, ".frozen"]

_open = builtins.open
_read = {}  # a staged table's text by its path


def _open_buffered(path, *how):
    """A board's file system reads flash by the block; this interpreter asks the system for each byte of a table's line."""
    if how or not isinstance(path, str) or not path.startswith(tree + "/lib/tables/"):
        return _open(path, *how)
    if path not in _read:
        with _open(path) as table:
            _read[path] = table.read()
    return io.StringIO(_read[path])


if tree != root:
    builtins.open = _open_buffered

scope = {"__name__": "tests"}
with open(path) as file:
    exec(compile(file.read(), path, "exec"), scope)  # the file name makes tracebacks readable

names = sorted(name for name in scope if name.startswith("test_") and callable(scope[name]))
failed = 0
for name in names:
    gc.collect()  # in the crumbs of the one before there may be no room for what is long
    try:
        scope[name]()
    except Exception as error:
        failed += 1
        print("FAILED", name)
        sys.print_exception(error)
    else:
        print("passed", name)
print("%d passed, %d failed" % (len(names) - failed, failed))
if not names:
    print("no test_ function in", path)
sys.exit(1 if failed or not names else 0)
