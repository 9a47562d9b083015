"""A deploy that is killed anywhere, on LittleFS: the board starts, old or new, and says which.  `make kills` plays 300."""

from host_tests import needs
from tools.soak import deploys


def test_a_board_starts_after_a_deploy_that_was_killed_anywhere() -> None:
    needs.interpreter(64)
    became = deploys.soak(20, 3, False, lambda text: None)
    assert became["old"] > 3 and became["new"] > 3, "nothing was cut before, or nothing after the switch"
    assert sum(became.values()) == 20
