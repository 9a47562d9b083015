"""Fetching what is rarely needed: it is let go again, and where there is no room, what was fetched before makes it."""

import sys

import rare

from host_tests.both import fullheap

HERE = "host_tests.both."


def fetch(name):
    return rare.borrow(HERE + name)


def prepare():
    rare.release()
    sys.modules.setdefault("fullheap", sys.modules[HERE + "fullheap"])
    fullheap.tries[:] = []
    for name in ("fullheap_once", "fullheap_never"):
        sys.modules.pop(HERE + name, None)


def test_what_is_borrowed_leaves_with_the_next_release():
    prepare()
    fullheap.tries[:] = [HERE + "fullheap_once"]  # as if it had been tried
    assert fetch("fullheap_once").whole
    assert HERE + "fullheap_once" in sys.modules
    rare.release()
    assert HERE + "fullheap_once" not in sys.modules


def test_where_there_is_no_room_it_is_tried_again_and_the_half_that_was_there_is_not_taken_for_the_whole():
    prepare()
    module = fetch("fullheap_once")
    assert module.whole and fullheap.tries.count(HERE + "fullheap_once") == 2


def test_what_was_fetched_before_is_let_go_to_make_room():
    prepare()
    fullheap.tries[:] = [HERE + "fullheap_once"]
    fetch("fullheap_once")
    try:
        fetch("fullheap_never")
        raise AssertionError("it cannot have been fetched")
    except MemoryError:
        pass
    assert HERE + "fullheap_once" not in sys.modules
    rare.release()
    assert HERE + "fullheap_never" not in sys.modules
