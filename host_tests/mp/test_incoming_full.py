"""An update over the network that the flash cannot hold: it is refused in words, and the flash is as free as before."""

import json
import subprocess
from pathlib import Path

from tools.interpreters import Interpreter


def test_what_does_not_fit_is_refused_in_figures_what_fills_it_is_removed_and_who_hangs_up_ends_nothing(
    mp32: Interpreter, root: Path
) -> None:
    script = root / "host_tests" / "mp" / "on_board" / "incoming_full.py"
    done = subprocess.run([*mp32.command, "-X", "heapsize=8M", str(script), str(root)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    gone = found["hung up"]
    assert not gone["ended"] and gone["state"].startswith("refused 10.0.0.1: number 1: number 1 was here"), gone
    refused = found["too large"]
    assert refused["said"].startswith("NO ") and "512 KB are needed on the flash, " in refused["said"], refused
    assert refused["sent"] == 0 and refused["number"] == 1 and refused["saved"], refused
    assert abs(refused["after"] - refused["before"]) <= 10, refused
    full = found["meanwhile"]
    assert full["said"].startswith("NO ") and "the flash is full" in full["said"], full
    assert full["sent"] > 0 and full["number"] == 1 and full["saved"], full
    assert full["state"].startswith("refused 10.0.0.1: "), full
    assert found["fits"]["said"] == "DONE 4" and found["fits"]["saved"], found["fits"]
    assert found["over the one before"]["said"] == "DONE 5", found["over the one before"]
    tight = found["what it replaces counts"]
    assert tight["said"] == "DONE 6" and tight["before"] <= 11, tight
    two = found["two at once"]
    assert two["said"].startswith("NO ") and "another deploy or update is under way" in two["said"], two
    assert found["behind one that is gone"]["said"] == "DONE 7", found["behind one that is gone"]
    assert "another deploy or update is under way" in found["it comes back"], "it would write into what is the next start"
    assert found["days later"]["said"] == "DONE 8", found["days later"]
