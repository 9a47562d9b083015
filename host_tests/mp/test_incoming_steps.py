"""A generation that arrives while control runs: between two cycles no more than one erase."""

import json
import subprocess
from pathlib import Path

from tools.interpreters import Interpreter


def test_a_step_of_an_update_erases_flash_once_but_where_a_folder_itself_moves(mp64: Interpreter, root: Path) -> None:
    script = root / "host_tests" / "mp" / "on_board" / "incoming_steps.py"
    done = subprocess.run([*mp64.command, "-X", "heapsize=8M", str(script), str(root)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["erasing"] > 50 and found["steps"] > 2000, found
    # a folder's own blocks move after a hundred erases, for the sake of wear: two at once, and nobody can divide that
    assert found["most_erases"] == 2 and found["twice"] * 200 < found["steps"], found
    places = [place for place, *_ in found["said"]]
    assert places == ["a", "b"] * 5
    for _, sent, kept, copied in found["said"][2:]:
        assert sent == 14 and kept + copied == 120 - 14 and kept >= 90, "what is there stays"
    # beside a site that runs there are some 100 KB for 300 files: it was 440 bytes a file here, twice a chip's, and ran out
    assert found["heap_most"] < 250 * 120, found
