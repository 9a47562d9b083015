"""Documents and logs in flash: sealed, kept in two versions, migrated; written late; damage found and told."""

import gc
import json
import os
import sys

import journal
import rowlog
from flashwear import Wear
from journal import Journal
from safestore import Store, StoreError
from writeback import WriteBack

from host_tests.both import scratch

_ROOT = scratch.place("storage")


def _place(name):
    """An empty directory of this test's own; what an earlier run left there goes."""
    try:
        os.mkdir(_ROOT)
    except OSError:
        pass
    place = _ROOT + "/" + name
    try:
        os.mkdir(place)
    except OSError:
        pass
    for left in os.listdir(place):
        if left != "history":
            os.remove(place + "/" + left)
    return place + "/doc.json"


def _folder(name):
    """An empty folder for rows."""
    _place(name)
    place = _ROOT + "/" + name + "/"
    for folder in (place, place + "history/", place + "history/tail/"):
        try:
            os.mkdir(folder[:-1])
        except OSError:
            pass
    for folder in (place + "history/tail/", place + "history/"):
        for left in os.listdir(folder[:-1]):
            if left != "tail":
                os.remove(folder + left)
    return place + "history"


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def _refused(call, *args, **options):
    try:
        call(*args, **options)
    except StoreError as error:
        return str(error)
    raise AssertionError("no StoreError")


def _saved_twice(name, **options):
    path = _place(name)
    store = Store(path, 2, **options)
    store.save({"value": 1})
    store.save({"value": 2})
    return path, Store(path, 2, **options)


def test_what_was_saved_is_loaded():
    path, store = _saved_twice("load")
    assert store.load() == {"schema": 2, "value": 2}
    assert (store.origin, store.problem) == ("current", "")


def test_a_store_that_was_never_saved_is_none():
    store = Store(_place("never"))
    assert store.load() is None and store.load(fallback=False) is None
    assert (store.origin, store.problem) == ("", "")


def test_the_file_is_plain_json():
    path, _ = _saved_twice("plain")
    doc = json.loads(_read(path))
    assert doc["value"] == 2 and len(doc["crc"]) == 8


def test_any_flipped_bit_is_found_and_the_version_before_used():
    path, store = _saved_twice("bits")
    good = _read(path)
    for at in range(len(good)):
        for bit in (1, 128):
            damaged = bytearray(good)
            damaged[at] ^= bit
            _write(path, damaged)
            assert store.load() == {"schema": 2, "value": 1}, (at, bit)
            assert store.origin == "previous" and path in store.problem


def test_no_flipped_bit_changes_a_value_where_files_may_be_written_by_hand():
    path, store = _saved_twice("hand-bits", by_hand=True)
    good = _read(path)
    for at in range(len(good) - 1):  # the last is the line break at the end
        damaged = bytearray(good)
        damaged[at] ^= 2
        _write(path, damaged)
        assert store.load()["value"] == (1 if store.problem else 2), at


def test_any_length_cut_off_is_found():
    path, store = _saved_twice("short", by_hand=True)
    good = _read(path)
    for length in range(len(good) - 1):
        _write(path, good[:length])
        assert store.load()["value"] == 1, length


def test_a_hand_written_file_that_is_cut_short_is_refused_at_any_length():
    path = _place("cut")
    whole = b'{"schema": 1, "name": "a \\"quoted\\" {", "devices": {"bms": {"bus": "can0"}, "list": [1, 2]}}'
    for length in range(len(whole)):
        _write(path, whole[:length])
        assert "is no JSON" in _refused(Store(path, 1, by_hand=True).load), whole[:length]
    _write(path, whole)
    assert Store(path, 1, by_hand=True).load()["name"] == 'a "quoted" {'


WRONG = (  # MicroPython's json takes these, and the like; what is said of them
    (b'{"schema": 1\n"value": 2}', 'line 2: a comma is missing in front of "value"'),
    (b'{"schema": 1,\n "p": {"a": 1,\n  "b": 2,\n "a": 3}}', 'line 4: "a" stands twice in one object: only the last would count'),
    (b'{"schema": 1, "a": {"x": 1}, "a": 2}', 'line 1: "a" stands twice in one object'),
    (b'{"schema" 1}', "line 1: a colon is missing in front of 1"),
    (b'{"schema", 1}', 'line 1: "," stands where a colon is meant'),
    (b'{"schema": 1, "list": [1 2]}', "line 1: a comma is missing in front of 2"),
    (b'{"schema": 1, "list": [1,\n\n,2]}', 'line 3: "," stands where a value is meant'),
    (b'{"schema": 1,\n}', 'line 2: "}" stands where a key in quotes is meant'),
    (b'{"schema": 1, "list": [1,]}', 'line 1: "]" stands where a value is meant'),
    (b'{"schema": 1, "list": [1, 2}', 'line 1: "}" stands where a comma is meant'),
    (b'{"schema": 1, 2: 3}', "line 1: 2 stands where a key in quotes is meant"),
    (b'{"schema": :1}', 'line 1: ":" stands where a value is meant'),
    (b'{"schema": 1} {"value": 2}', 'line 1: "{" stands behind the end'),
    (b'{"schema": 1}}', 'line 1: "}" stands behind the end'),
    (b'{"schema": 01}', "line 1: 01 is no value of JSON"),
    (b'{"schema": 1, "value": 1.}', "line 1: 1. is no value of JSON"),
    (b'{"schema": 1, "value": True}', "line 1: True is no value of JSON"),
    (b'{"schema": 1, "value": NaN}', "line 1: NaN is no value of JSON"),
    (b'{"schema": 1, "value": "two\nlines"}', "line 1: a text ends within its line"),
    (b'{"schema": 1, "value": "a\\x41"}', "line 1: \\x in a text is no JSON"),
    (b'{"schema": 1, "list": ' + b"[" * 60 + b"]" * 60 + b"}", "line 1: nested too deeply"),
)


def test_what_micropythons_json_would_pass_over_is_refused_with_its_line():
    path = _place("lenient")
    for data, said in WRONG:
        _write(path, data)
        told = _refused(Store(path, 1, by_hand=True).load)
        assert said in told, (data, told)
    for data in (
        b'{"schema": 1, "a": {}, "b": [], "c": [{}, [], 1.5e-3, -0, "x", true, false, null]}',
        b'{"schema": 1, "d": {"a": "\\"\\u00e9,}]", "b": "\xc3\xbc"}}',
        b' \r\n\t{\r\n"schema":1}\n \n',
        b'{"schema": 1, "a": {"x": 1}, "b": {"x": 2}, "x": [{"x": 1}, {"x": 2}]}',
    ):
        _write(path, data)
        assert Store(path, 1, by_hand=True).load()["schema"] == 1, data


def test_without_fallback_damage_is_an_error_that_offers_the_version_before():
    path, store = _saved_twice("offer", by_hand=True)
    _write(path, _read(path).replace(b"2", b"3"))
    said = _refused(store.load, fallback=False)
    assert "doc.json" in said and "CRC is wrong" in said and "restore_previous()" in said
    assert store.restore_previous()["value"] == 1
    assert store.load(fallback=False)["value"] == 1


def test_saving_over_a_damaged_version_keeps_the_good_one_before():
    path, _ = _saved_twice("keep")
    _write(path, b"rubbish")
    Store(path, 2).save({"value": 3})
    store = Store(path, 2)
    assert store.load()["value"] == 3 and store.previous()["value"] == 1


def test_a_save_cut_between_its_two_renames_is_finished():
    path, store = _saved_twice("renames")
    os.rename(path, path + ".new")
    assert store.load(fallback=False)["value"] == 2 and store.origin == "new"
    store.save({"value": 3})
    assert store.previous()["value"] == 2


def test_when_both_versions_are_damaged_both_are_named():
    path, store = _saved_twice("both")
    _write(path, b"{}")
    _write(path + ".old", b"")
    said = _refused(store.load)
    assert "doc.json:" in said and "doc.json.old:" in said


def test_a_file_written_by_hand_is_accepted_only_where_allowed():
    path = _place("hand")
    _write(path, b'{"schema": 1, "value": 7}')
    assert Store(path, 1, by_hand=True).load()["value"] == 7
    assert "no CRC" in _refused(Store(path, 1).load)


def test_files_that_are_not_ours_are_refused_with_the_reason():
    path = _place("alien")
    for data, said in (
        (b'{"schema": 3}', "schema = 3: written by a newer firmware; allowed are 1 to 2"),
        (b'{"value": 3}', "schema = None: allowed are 1 to 2"),
        (b'{"schema": "1"}', "schema = '1': allowed are 1 to 2"),
        (b"[1, 2]", "must be an object"),
        (b"\x89PNG\r\n", "is no JSON"),
        (b"", "is no JSON (it is empty)"),
        (b" \r\n", "is no JSON (it is empty)"),
        (b'\xef\xbb\xbf{"schema": 1}', "a byte order mark"),
        (b'{"schema": 1, "name": "S\xfcd"}', "it is not in UTF-8"),
    ):
        _write(path, data)
        assert said in _refused(Store(path, 2, by_hand=True).load), data


def test_an_older_schema_is_migrated_and_saved_as_the_current_one():
    path = _place("migrate")
    Store(path, 1).save({"power": 5})

    def migrate(doc, from_schema):
        assert from_schema == 1
        doc["power_kw"] = doc.pop("power")
        return doc

    store = Store(path, 2, migrate)
    doc = store.load()
    assert doc == {"schema": 2, "power_kw": 5} and store.loaded_schema == 1
    store.save(doc)
    assert Store(path, 2).load() == doc
    assert store.previous() == doc  # the version before, migrated on the way


def test_a_migration_that_fails_is_a_clear_error():
    path = _place("failing")
    Store(path, 1).save({"a": 1})

    def migrate(doc, from_schema):
        return {"power_kw": doc["power"]}

    assert "cannot be brought to 2" in _refused(Store(path, 2, migrate).load)
    assert "cannot be brought to 2" in _refused(Store(path, 2).load)


def test_a_log_gives_its_lines_back_in_order_with_those_still_waiting():
    log = Journal(_place("log"))
    for n in range(5):
        log.append("line %d" % n)
        if n == 2:
            log.flush()
    assert log.waiting == 2
    assert list(log.lines()) == ["line %d" % n for n in range(5)]


def test_a_log_is_bounded_and_loses_the_oldest():
    path = _place("bounded")
    log = Journal(path, limit=400, files=3)
    for n in range(200):
        log.append("event number %d" % n)
        log.flush()
    kept = list(log.lines())
    assert kept == ["event number %d" % n for n in range(200 - len(kept), 200)]
    assert 30 <= len(kept) <= 60
    sizes = [os.stat(name)[6] for name in (path, path + ".1", path + ".2")]
    assert max(sizes) <= 400


def test_a_damaged_line_is_left_out_and_counted():
    path = _place("damaged")
    log = Journal(path)
    for n in range(3):
        log.append("line %d" % n)
    log.flush()
    _write(path, _read(path).replace(b"line 1", b"line 7") + b"torn")
    assert list(log.lines()) == ["line 0", "line 2"] and log.damaged == 2


def test_waiting_lines_are_bounded_and_the_lost_ones_counted():
    log = Journal(_place("waiting"), waiting=3)
    for n in range(5):
        log.append("line %d" % n)
    assert list(log.lines()) == ["line 2", "line 3", "line 4"] and log.lost == 2


def test_line_breaks_are_refused():
    log = Journal(_place("breaks"))
    try:
        log.append("one\ntwo")
    except ValueError:
        assert log.waiting == 0
    else:
        raise AssertionError("accepted")


class Saves:
    """Counts calls; fails while `broken`."""

    def __init__(self):
        self.count = 0
        self.broken = False

    def __call__(self):
        if self.broken:
            raise OSError(28)
        self.count += 1


def test_many_changes_become_one_save():
    saves = Saves()
    batch = WriteBack()
    batch.add("energy", saves, 900, 900)
    for now_s in range(3600):
        batch.mark("energy")
        batch.tick(now_s)
    assert saves.count == 3


def test_an_urgent_save_does_not_wait():
    saves = Saves()
    batch = WriteBack()
    batch.add("faults", saves, 0, 0)
    batch.mark("faults")
    assert batch.tick(0) == "faults" and batch.tick(0) == ""


def _ticks(batch, first_s, last_s, name):
    """When this was saved."""
    saved = []
    for now_s in range(first_s, last_s):
        if batch.tick(now_s) == name:
            saved.append(now_s)
    return saved


def test_a_budget_saves_so_many_at_once_and_refills_with_time():
    batch = WriteBack()
    batch.add("urgent", Saves(), 0, 60, 3)
    saved = []
    for now_s in range(600):
        batch.mark("urgent")
        if batch.tick(now_s):
            saved.append(now_s)
    assert saved[:3] == [0, 1, 2], "the first three do not wait"
    assert saved[3:] == list(range(60, 600, 60)), "then one in its interval"
    _ticks(batch, 600, 2000, "")
    for now_s in (2000, 2001, 2002, 2003):
        batch.mark("urgent")
        assert (batch.tick(now_s) == "urgent") == (now_s < 2003), "as many again after a rest, and no more for a longer one"


def test_what_never_stops_changing_is_saved_no_more_often_for_its_budget():
    for changes_each in (7, 59, 61):
        saves = Saves()
        batch = WriteBack()
        batch.add("flapping", saves, 1, 60, 20)
        for now_s in range(0, 14400, 2):
            if now_s % changes_each < 2:
                batch.mark("flapping")
            batch.tick(now_s)
        assert 200 < saves.count <= 240 + 20, changes_each


def test_a_save_before_a_reset_counts_in_the_budget_and_leaves_the_rest_of_it():
    batch = WriteBack()
    batch.add("urgent", Saves(), 1, 60, 3)
    batch.mark("urgent")
    assert batch.flush()
    saved = []
    for now_s in (1, 4, 7):
        batch.mark("urgent")
        saved += _ticks(batch, now_s, now_s + 3, "urgent")
    assert len(saved) == 2 and saved[0] <= 2 and saved[1] <= 5, saved


def test_what_may_be_saved_at_once_goes_before_what_waits_longer():
    batch = WriteBack()
    for name in ("energy", "events", "history"):
        batch.add(name, Saves(), 100, 900)
        batch.mark(name)
    batch.add("urgent", Saves(), 0, 60, 3)
    assert batch.tick(99) == ""
    batch.mark("urgent")
    assert batch.tick(100) == "urgent"


def test_a_save_that_fails_is_tried_again_a_minute_later_whatever_its_budget():
    saves = Saves()
    saves.broken = True
    batch = WriteBack()
    batch.add("urgent", saves, 0, 60, 3)
    batch.mark("urgent")
    assert _ticks(batch, 0, 130, "urgent") == [0, 60, 120]
    saves.broken = False
    assert _ticks(batch, 130, 300, "urgent") == [180]
    batch.mark("urgent")
    assert _ticks(batch, 300, 310, "urgent") == [300]


def test_one_save_is_done_at_a_time_the_longest_due_first():
    batch = WriteBack()
    batch.add("a", Saves(), 5, 0)
    batch.add("b", Saves(), 5, 0)
    batch.tick(1)
    batch.mark("b")
    batch.tick(2)
    batch.mark("a")
    assert [batch.tick(20), batch.tick(20), batch.tick(20)] == ["b", "a", ""]


def test_a_failed_save_is_counted_and_tried_again():
    saves = Saves()
    saves.broken = True
    batch = WriteBack()
    batch.add("energy", saves, 0, 0)
    batch.mark("energy")
    batch.tick(0)
    assert batch.errors == 1 and "energy" in batch.last_error and batch.is_dirty("energy")
    assert batch.tick(30) == ""
    saves.broken = False
    assert batch.tick(60) == "energy" and not batch.is_dirty("energy")


def test_flush_saves_everything_now_and_says_whether_it_could():
    good, bad = Saves(), Saves()
    bad.broken = True
    batch = WriteBack()
    batch.add("good", good, 900, 900)
    batch.add("bad", bad, 900, 900)
    batch.mark("good")
    assert batch.flush() and good.count == 1
    batch.mark("bad")
    assert not batch.flush()


def test_the_wear_estimate_follows_the_last_day():
    wear = Wear()
    for hour in range(48):
        wear.tick(hour * 3600)
        for _ in range(4):
            wear.wrote(3000)
    day = wear.report(300)
    assert day["writes"] == 192 and day["writes_per_day"] == 96
    assert abs(day["erases_per_day"] - 96 * 1.3) < 0.1
    for hour in range(48, 80):
        wear.tick(hour * 3600)
    assert wear.report(300)["writes_per_day"] == 0


def test_fewer_free_blocks_and_more_writes_mean_fewer_years():
    wear = Wear()
    wear.wrote(3000)
    years = wear.report(10)["years"]
    assert 0 < years < wear.report(20)["years"]
    wear.wrote(9000)
    assert wear.report(10)["years"] < years


def test_a_save_in_steps_leaves_a_whole_version_between_any_two_of_them():
    path = _place("steps")
    copy = _place("steps-cut")
    store = Store(path)
    store.save({"value": 0})
    for value in range(1, 4):
        steps = 0
        for _ in store.steps({"value": value, "text": "x" * 5000}):
            steps += 1
            for name in os.listdir(path[:-9]):  # as a power cut leaves it
                _write(copy[:-8] + name, _read(path[:-8] + name))
            assert Store(copy).load()["value"] in (value - 1, value), steps
            for name in os.listdir(copy[:-9]):
                os.remove(copy[:-8] + name)
        assert steps >= 7, "seal, open, three pieces, close, two renames"
        assert Store(path).load() == {"schema": 1, "value": value, "text": "x" * 5000}
        assert Store(path).previous()["value"] == value - 1


def test_restoring_in_steps_keeps_a_damaged_version_from_becoming_the_one_before():
    path, store = _saved_twice("restore-steps")
    for _ in store.restore(store.previous()):
        pass
    assert store.load()["value"] == 1 and store.previous()["value"] == 1


def test_lines_that_come_while_a_log_is_written_wait_for_the_next_time():
    path = _place("meanwhile")
    log = Journal(path, limit=400, files=3)
    written = []
    for n in range(60):
        log.append("line %d" % n)
        written.append("line %d" % n)
        steps = 0
        for _ in log.steps():
            steps += 1
            log.append("meanwhile %d %d" % (n, steps))
            written.append("meanwhile %d %d" % (n, steps))
            log.flush()  # one is under way: nothing
        assert steps >= 3
        kept = list(log.lines())
        assert kept == written[-len(kept) :] and log.waiting == steps, "all are there, each once"
    assert log.lost == 0 and os.stat(path + ".2")[6] <= 400


def test_lines_that_could_not_be_written_wait_in_their_order():
    log = Journal(_ROOT + "/no/such/place", waiting=4)
    for n in range(3):
        log.append("line %d" % n)
    try:
        for _ in log.steps():
            log.append("meanwhile")
    except OSError:
        pass
    else:
        raise AssertionError("there is no such place")
    assert list(log.lines()) == ["line 0", "line 1", "line 2", "meanwhile"][-4:] and log.lost == 0
    try:
        for _ in log.steps():
            log.append("one more")
    except OSError:
        pass
    assert list(log.lines()) == ["line 1", "line 2", "meanwhile", "one more"] and log.lost == 1


class Failing:
    """In the place of in_pieces of a module: fails once, behind so many pieces that are written."""

    def __init__(self, module, pieces, error):
        self._module, self._left, self._error = module, pieces, error
        self._usual = module.in_pieces
        module.in_pieces = self

    def __call__(self, file, data, at=0):
        self._module.in_pieces = self._usual
        for step in self._usual(file, data, at):
            if self._left == 0:
                raise self._error
            self._left -= 1
            yield step


def test_a_log_whose_write_fails_half_way_damages_no_line_and_doubles_none():
    """An emergency was the first line of the next write: it stood behind what was left of the one that failed."""
    for error in (MemoryError(), OSError(28)):
        for pieces, count in ((0, 3), (1, 3), (1, 100), (2, 100), (3, 100)):
            path = _place("half")
            log = Journal(path, limit=16384, waiting=200)
            log.append("before")
            log.flush()
            lines = ["line %d of some length, so that several pieces are written" % n for n in range(count)]
            for line in lines:
                log.append(line)
            Failing(journal, pieces, error)
            try:
                log.flush()
            except (MemoryError, OSError):
                pass
            log.append("EMERGENCY")
            assert list(log.lines()) == ["before"] + lines + ["EMERGENCY"], (error, pieces, count)
            log.flush()
            assert log.waiting == 0
            assert list(log.lines()) == ["before"] + lines + ["EMERGENCY"], (error, pieces, count)
            assert list(Journal(path).lines()) == ["before"] + lines + ["EMERGENCY"]


def _crumbs(size):
    """The heap with nothing free in it but pieces of about this size; what it returns keeps it so."""
    if sys.implementation.name != "micropython":
        return None
    gc.collect()
    held = [None] * (gc.mem_free() // size + 100)
    n = 0
    try:
        while n < len(held):
            held[n] = bytearray(size)
            n += 1
    except MemoryError:
        pass
    for i in range(0, min(n, 200), 2):
        held[i] = None
    gc.collect()
    return held


def test_a_log_is_written_where_there_is_no_piece_of_heap_for_all_that_waits():
    """An hour's lines want five kilobytes in one piece: a heap in crumbs had none then, nor a minute later, nor ever."""
    path = _place("crumbs")
    log = Journal(path, limit=16384)
    lines = ["an event of the usual length, with its number %d and what it says of a fault" % n for n in range(64)]
    for line in lines:
        log.append(line)
    log.append("EMERGENCY")
    held = _crumbs(1500)
    try:
        log.flush()
    finally:
        held = None
    assert log.waiting == 0 and log.lost == 1
    assert list(log.lines()) == lines[1:] + ["EMERGENCY"]
    assert held is None


def test_a_log_that_ends_torn_at_a_boot_damages_no_line_behind_it():
    path = _place("torn")
    log = Journal(path)
    log.append("line 0")
    log.flush()
    _write(path, _read(path) + b"3f")
    log = Journal(path)
    log.append("EMERGENCY")
    log.flush()
    log.append("line 1")
    log.flush()
    assert list(log.lines()) == ["line 0", "EMERGENCY", "line 1"] and log.damaged == 1


def _row(n):
    return bytes([n % 251]) * 78


def test_rows_whose_write_fails_half_way_go_on_behind_it_also_after_a_boot():
    for pieces in (0, 1, 2):
        for boot in (False, True):
            place = _folder("rows")
            log = rowlog.RowLog(place, "five", 78, 36, 4, 12)
            log.begin()
            for n in range(60):
                assert log.append(_row(n))
                if n == 29:
                    Failing(rowlog, pieces, MemoryError())
                try:
                    for _ in log.steps():
                        pass
                except MemoryError:
                    if boot:
                        log = rowlog.RowLog(place, "five", 78, 36, 4, 12)
                        log.begin()
                        assert log.next == n + 1, "the tiny files have them"
            assert log.waiting == 0 and log.lost == 0
            assert [row for _, row in log.rows()] == [_row(n) for n in range(60)], (pieces, boot)
            log = rowlog.RowLog(place, "five", 78, 36, 4, 12)
            log.begin()
            assert [row for _, row in log.rows()] == [_row(n) for n in range(60)], (pieces, boot)


def test_a_save_that_is_done_in_steps_is_finished_before_another_begins():
    done = []

    def saving(name):
        def save():
            for n in range(3):
                yield
                done.append("%s%d" % (name, n))

        return save

    batch = WriteBack()
    batch.add("a", saving("a"), 2, 10)
    batch.add("b", saving("b"), 2, 0)
    batch.mark("a")
    assert list(batch.steps(1)) == []
    batch.mark("b")
    steps = batch.steps(3)
    next(steps)
    next(steps)
    batch.mark("a")  # changed while it is saved: again, at its time
    assert done == ["a0"]
    assert batch.flush()
    assert done == ["a0", "a1", "a2", "b0", "b1", "b2", "a0", "a1", "a2"], "what has waited longest is next"
    assert list(steps) == [] and list(batch.steps(20)) == []


def test_a_save_in_steps_that_fails_half_way_is_tried_again():
    broken = [True]

    def save():
        yield
        if broken[0]:
            raise OSError(28)

    batch = WriteBack()
    batch.add("a", save, 0, 0)
    batch.mark("a")
    assert len(list(batch.steps(0))) == 1 and batch.errors == 1 and batch.is_dirty("a")
    broken[0] = False
    assert len(list(batch.steps(60))) == 1 and not batch.is_dirty("a")


def test_a_save_that_is_broken_off_is_still_to_be_done():
    """A signal in the middle of it, at the end of the program."""
    done = []

    def save():
        yield
        if not done:
            done.append("interrupted")
            raise KeyboardInterrupt
        done.append("saved")

    batch = WriteBack()
    batch.add("a", save, 0, 0)
    batch.mark("a")
    try:
        batch.flush()
    except KeyboardInterrupt:
        pass
    assert batch.is_dirty("a") and batch.flush() and done == ["interrupted", "saved"]


def test_everything_that_waits_is_saved_in_steps_what_was_begun_first():
    done = []

    def saving(name):
        def save():
            for n in range(2):
                yield
                done.append("%s%d" % (name, n))

        return save

    batch = WriteBack()
    batch.add("begun", saving("begun"), 0, 10)
    batch.add("late", saving("late"), 600, 600)
    batch.add("urgent", saving("urgent"), 2, 60, 5)
    batch.mark("begun")
    begun = batch.steps(1)
    next(begun)
    batch.mark("late")
    batch.mark("urgent")
    steps = batch.flushing()
    next(steps)
    assert done == ["begun0"] and batch.waits, "one step at a time"
    for _ in steps:
        pass
    assert done == ["begun0", "begun1", "urgent0", "urgent1", "late0", "late1"] and not batch.waits
