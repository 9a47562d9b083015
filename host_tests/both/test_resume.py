"""resume: what ran before a reset starts again by a stated rule, and only then; what is kept is tiny and seldom written."""

import notice
from civil import day_number
from emsrig import Ems
from posixtz import PosixTZ

from firmware import Mode
from firmware import image as im
from firmware.charging import ChargeParams
from firmware.clock import CONSOLE, NTP, Clock
from firmware.discharging import DischargeParams
from firmware.schedule_entry import ScheduleEntry
from host_tests.both.fakenvs import FakeNVS, loaded
from host_tests.both.plant import Plant
from host_tests.both.virtual import Virtual

LATCH = loaded("firmware.latch")
Latch = LATCH.Latch
RESUME = loaded("firmware.resume")
Resume = RESUME.Resume
Service = loaded("firmware.services.emergency_memory").Service
CLOCK = LATCH.time = RESUME.time = Virtual()
DAY = day_number(2026, 11, 22)
SAID = []


class Board:
    """A plant with the two memories of a board, and the house loop's steps."""

    def __init__(self, fresh=False, **config):
        if fresh:
            FakeNVS.stored = {}
            FakeNVS.fails = None
            FakeNVS.unreadable = False
            FakeNVS.writes = 0
            FakeNVS.on_write = None
        del SAID[:]
        notice.sink = SAID.append
        self.config = config
        self.plant = Plant(**config)
        self.pm = self.plant.pm
        self.latch = Latch(self.pm)
        self.resume = Resume(self.pm)
        self.run(1)

    def run(self, seconds):
        for _ in range(int(seconds * 10)):
            self.plant.cycles(2)
            self.house()

    def house(self, ms=11000):
        """Its steps, so long after the ones before."""
        CLOCK.skip(ms)
        self.latch.step()
        self.resume.step()

    def reset(self, **config):
        """The next start, with the same memory."""
        changed = dict(self.config)
        changed.update(config)
        return Board(**changed)

    def runs(self):
        return self.pm.mode != Mode.STANDBY and self.plant.now[im.CMD_CONTACTOR] == 1


def started(**config):
    board = Board(True, **config)
    board.pm.start()
    board.run(2)
    assert board.runs()
    return board


def test_resume_nothing_starts_where_nothing_ran():
    board = Board(True)
    board.run(5)
    for _ in range(3):
        board = board.reset()
        board.run(5)
        assert not board.runs() and board.pm.mode == Mode.STANDBY and SAID == []
    assert FakeNVS.writes == 0


def test_resume_what_was_started_starts_again_and_says_so():
    board = started().reset()
    board.run(2)
    assert board.runs() and board.plant.command() == 0
    assert len(SAID) == 1 and "started again" in SAID[0] and board.resume.text in SAID[0]


def test_resume_not_where_the_site_does_not_want_it():
    board = started(resume=False).reset()
    board.run(5)
    assert not board.runs() and "power.resume" in SAID[0] and "start()" in SAID[0]
    board = board.reset(resume=True)
    board.run(5)
    assert not board.runs(), "the start before that one did not run"


def test_resume_not_after_stop_whenever_power_goes():
    for before in (lambda pm: pm.stop(), lambda pm: pm.set_mode(Mode.STANDBY)):
        board = started()
        before(board.pm)  # and power goes before the house loop or a cycle runs
        board = board.reset()
        board.run(5)
        assert not board.runs() and SAID == []


def test_resume_not_after_an_emergency_nor_after_its_reset():
    board = started()
    assert board.pm.emergency_shutdown() is True
    board = board.reset()
    board.run(5)
    assert board.pm.is_emergency and board.plant.command() == 0
    board.pm.reset_emergency()
    board = board.reset()
    board.run(5)
    assert not board.runs() and not board.pm.is_emergency
    board = started()
    board.plant.force[im.IO_ESTOP] = 1
    board.plant.cycle()
    board.latch.step()  # only that much before power goes
    board = board.reset()
    board.run(2)
    board.pm.reset_emergency()
    board = board.reset()
    board.run(5)
    assert not board.runs()


def test_resume_not_after_maintenance_nor_after_used_up_restarts():
    board = started()
    board.pm.set_mode(Mode.MAINTENANCE)
    board = board.reset()
    board.run(5)
    assert not board.runs() and board.pm.mode == Mode.STANDBY
    board = started(auto_restart=False)
    board.plant.silent = {im.SEQ_PCS}
    board.run(3)
    assert board.pm.mode == Mode.STANDBY
    board = board.reset()
    board.run(5)
    assert not board.runs()


def test_resume_during_a_back_off_it_still_counts_as_running():
    board = started(restart_delay=60)
    board.plant.silent = {im.SEQ_PCS}
    board.run(3)
    assert board.pm.mode == Mode.STANDBY
    board = board.reset()
    board.run(5)
    assert board.runs()


def test_resume_an_orderly_end_of_the_program_is_no_stop():
    board = started()
    board.pm.halt()
    board.run(3)
    board = board.reset()
    board.run(5)
    assert board.runs()


def test_resume_an_orderly_end_stores_what_went_on_however_new_it_is():
    """What may wait for its turn at the flash waits no longer than the program runs."""
    board = started()
    board.pm.set_constant_power(20, 30)
    board.plant.cycles(2)
    board.house()  # stored, and what follows has to wait
    board.pm.resume()
    board.plant.cycles(2)
    board.house(200)
    board.pm.halt()
    for _ in Service.last_steps(board):
        pass
    board = board.reset()
    board.run(5)
    assert board.runs(), "the operation was over"


def test_resume_an_operation_with_an_end_is_known_at_once_as_nothing_starts_after_it():
    for before in (lambda pm: pm.resume(), lambda pm: pm.stop_operation(), lambda pm: pm.set_constant_power(10)):
        board = started(resume_manual=True)
        board.pm.stop_operation(5)
        board.plant.cycles(2)
        board.house()
        before(board.pm)
        board.plant.cycles(2)
        board.house()  # stored, and what follows has to wait
        board.pm.set_constant_power(20, 5)
        board.plant.cycles(2)
        board.house(200)
        board = board.reset()
        board.run(5)
        assert not board.runs() and "manual operation" in SAID[0]


def test_resume_a_manual_operation_does_not_go_on_and_neither_does_anything_in_its_place():
    for operation in (
        lambda pm: pm.set_constant_power(20),
        lambda pm: pm.set_constant_power(-20, 30),
        lambda pm: pm.start_charging(80),
        lambda pm: pm.start_discharging(15, 60),
    ):
        board = started()
        operation(board.pm)
        board.run(5)
        assert board.plant.command() != 0
        board = board.reset()
        board.run(5)
        assert not board.runs() and board.plant.command() == 0 and board.pm.claims() == []
        assert "manual operation" in SAID[0] and "start()" in SAID[0]


def test_resume_manual_goes_on_where_the_site_wants_it():
    for operation, watts in (
        (lambda pm: pm.set_constant_power(20), 20000),
        (lambda pm: pm.set_constant_power(-35), -35000),
        (lambda pm: pm.start_charging(80), -100000),
        (lambda pm: pm.start_discharging(15), 15000),
    ):
        board = started(resume_manual=True)
        operation(board.pm)
        board.run(8)
        claims = board.pm.claims()
        board = board.reset()
        board.run(8)
        assert board.plant.command() == watts and board.pm.claims() == claims
    board.pm.set_constant_power(10)
    board.run(2)
    board = board.reset()
    board.run(4)
    assert board.plant.command() == 10000, "the newest one"


def test_resume_manual_not_with_an_end_of_its_own_nor_beyond_the_site():
    board = started(resume_manual=True)
    board.pm.set_constant_power(20, 30)
    board.run(3)
    board = board.reset()
    board.run(5)
    assert not board.runs()
    board = started(resume_manual=True)
    board.pm.set_constant_power(80)
    board.run(5)
    board = board.reset(max_discharge_power=50, max_charge_power=50)
    board.run(5)
    assert not board.runs() and "does not fit" in SAID[0]


def test_resume_a_pause_stays_a_pause():
    board = started()
    board.pm.stop_operation()
    board = board.reset()
    board.pm.claim("schedule", -20, 3600, "plan")
    board.run(5)
    assert board.runs() and board.plant.command() == 0 and board.pm.claims()[0]["goal"] == "pause"
    assert "paused" in SAID[0]
    board.pm.resume()
    board.run(3)
    assert board.plant.command() == -20000
    board = board.reset()
    board.run(1)
    assert board.pm.claims() == [], "its end is kept too"


def _held(board, left=None):
    """Its pause stands behind a reset, and behind the start of an EMS; `left`: of its seconds."""
    assert not board.runs() and [one["goal"] for one in board.pm.claims()] == ["pause"], board.pm.claims()
    if left:
        assert left - 120 <= board.pm.claims()[0]["seconds_left"] <= left
    if board.pm.is_emergency:
        board.pm.reset_emergency()
    board.pm.remote.start()
    board.pm.remote.claim(-20000, 60000, "ems")
    board.pm.claim("schedule", -20, 3600, "plan")
    board.pm.remote.claim(0, 100, "ems")
    board.run(5)
    assert board.runs() and board.plant.command() == 0, board.pm.stats()["reason"]
    return board


def test_resume_a_pause_outlives_a_reset_of_a_site_that_was_stopped():
    for stop in (lambda pm: pm.remote.stop(), lambda pm: pm.emergency_shutdown()):
        board = started()
        board.pm.stop_operation()
        board.run(1)
        stop(board.pm)
        board = board.reset()  # and power goes before the house loop runs
        board.run(3)
        assert board.pm.is_emergency or "pause" in board.pm.stats()["reason"], board.pm.stats()["reason"]
        board = _held(board.reset())
        board.pm.resume()
        board.run(5)
        assert board.plant.command() == -20000
        board = board.reset()
        assert board.pm.claims() == [], "its end is kept too"
    board = started()
    board.pm.stop_operation(30)
    board.run(2)
    board.pm.remote.stop()
    _held(board.reset(), 1800)


def test_resume_a_pause_outlives_a_reset_where_nothing_starts():
    board = started(resume=False)
    board.pm.stop_operation()
    board.run(1)
    _held(board.reset())
    board = Board(True)
    FakeNVS.stored = {"resume": 2, "resumed": 5}
    _held(Board())


def test_resume_a_pause_that_a_person_ended_is_over():
    for end in (lambda pm: pm.start(), lambda pm: pm.stop(), lambda pm: pm.resume(), lambda pm: pm.set_mode(Mode.MAINTENANCE)):
        board = started()
        board.pm.stop_operation()
        board.pm.remote.stop()
        board.run(5)
        end(board.pm)
        board.run(5)
        assert board.reset().pm.claims() == []
    board = started()
    board.pm.stop_operation(1)
    board.pm.remote.stop()
    board.run(70)
    board = board.reset()
    assert board.pm.claims() == [] and FakeNVS.stored["resume"] == 0, "it was over"


def test_resume_a_timed_pause_lasts_at_least_its_rest_and_ends():
    board = started()
    board.pm.stop_operation(30)
    writes = FakeNVS.writes
    board.run(300)
    assert FakeNVS.writes == writes, "passing minutes are not written"
    board = board.reset()
    left = board.pm.claims()[0]["seconds_left"]
    assert 1500 <= left <= 1800


def test_resume_renewed_claims_go_on():
    board = started()
    board.pm.claim("remote", 25, 60, "ems")
    board.run(4)
    assert board.plant.command() == 25000
    board = board.reset()
    board.run(2)
    assert board.plant.command() == 0 and board.pm.claims() == [], "a claim itself is not kept: its owner lives elsewhere"
    board.pm.claim("remote", 25, 60, "ems")
    board.run(4)
    assert board.plant.command() == 25000


def test_resume_a_remote_claim_over_a_manual_one_is_what_ran():
    board = started()
    board.pm.set_constant_power(10)
    board.pm.claim("remote", 25, 60, "ems")
    board.run(4)
    board = board.reset()
    board.run(2)
    assert board.runs() and board.pm.claims() == []


def test_resume_power_on_inside_a_schedules_window_runs_it_without_a_person():
    entry = {"hour": 1, "minute": 0, "mode": Mode.CHARGE, "power_setpoint": -40.0, "duration_minutes": 240}
    board = started()
    clock = board.pm.clock = Clock(PosixTZ("UTC0"), board.plant.ms)
    clock.set(CONSOLE, DAY, 3600)
    board.pm.add_schedule(ScheduleEntry(**entry))
    for _ in range(5):
        board.run(1)
        clock.tick(board.plant.ms)
        board.pm.run_schedule()
    assert board.plant.command() == -40000
    doc = board.pm.plan.to_doc()
    board = board.reset()
    board.pm.plan.from_doc(doc)
    clock = board.pm.clock = Clock(PosixTZ("UTC0"), board.plant.ms)
    for second in range(10):
        board.run(1)
        clock.tick(board.plant.ms)
        board.pm.run_schedule()
        if second < 5:
            assert board.plant.command() == 0, "the clock is not set"
        if second == 4:
            clock.set(NTP, DAY, 2 * 3600)
    assert board.plant.command() == -40000 and board.plant.by() == "schedule"
    assert "SCHEDULE_STARTED" in [name for name, _ in board.plant.events()]


def test_resume_an_island_is_served_again():
    board = Board(True, grid_connection=0)
    board.plant.grid = False
    board.pm.start()
    board.run(2)
    assert board.plant.command() == 20000
    board = board.reset()
    board.plant.grid = False
    board.run(2)
    assert board.plant.command() == 20000


def test_resume_resets_one_after_the_other_end_it():
    board = started()
    starts = 0
    for _ in range(8):
        board = board.reset()
        board.run(3)
        starts += board.runs()
        if starts == 5 and not board.runs():
            assert "resets" in SAID[0] and "start()" in SAID[0]
            break
    assert starts == 5
    board = started()
    for _ in range(8):
        board = board.reset()
        board.run(3)
        assert board.runs()
        board.plant.now[im.UPTIME_S] = 601
        board.house()


def test_resume_a_person_ends_a_row_of_resets():
    board = started()
    for _ in range(6):
        board = board.reset()
        board.run(2)
    assert not board.runs()
    board.pm.start()
    board.plant.now[im.UPTIME_S] = 601
    board.run(2)
    board = board.reset()
    board.run(2)
    assert board.runs()


def test_resume_what_is_stored_is_written_seldom():
    board = started()
    assert FakeNVS.writes == 1 and sorted(FakeNVS.stored) == ["resume"]
    for n in range(50):  # back and forth within ten seconds
        if n & 1:
            board.pm.set_constant_power(10, 5)
        else:
            board.pm.resume()
        board.plant.cycles(2)
        board.house(100)
    assert FakeNVS.writes <= 2
    board.run(60)
    assert FakeNVS.writes <= 3
    for number in FakeNVS.stored.values():
        assert -(1 << 31) <= number < 1 << 31


def test_resume_a_storage_that_fails_harms_nobody_and_starts_nothing():
    FakeNVS.stored = {"resume": 1}
    FakeNVS.unreadable = True
    del SAID[:]
    notice.sink = SAID.append
    plant = Plant()
    memory = Resume(plant.pm)
    FakeNVS.unreadable = False
    plant.run(5)
    assert plant.pm.mode == Mode.STANDBY and "cannot be read" in SAID[0]
    memory.step()
    board = started()
    FakeNVS.fails = [OSError(-0x1105, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")]
    board.pm.stop()
    board.run(3)
    assert board.pm.mode == Mode.STANDBY
    assert len([line for line in SAID if "could NOT be stored" in line]) == 1
    FakeNVS.fails = None
    board.house()
    assert FakeNVS.stored["resume"] == 0


def test_resume_what_is_stored_and_cannot_be_starts_nothing():
    for number in (-1, 6, 7, 8, 64 | 1, 10081 << 6 | 2, 10081 << 6 | 5, -59, 1 << 30, -(1 << 31), 3 | 7 << 3, 3 | 20000 << 6):
        Board(True)
        FakeNVS.stored = {"resume": number, "resume_w": 10000}
        board = Board(resume_manual=True)
        board.run(3)
        assert not board.runs() and board.pm.claims() == [], number


def test_resume_it_is_stored_outside_the_lock_while_the_cycle_goes_on():
    board = started()
    seen = []

    def on_write():
        seen.append(board.plant.image.lock.acquire(0))
        board.plant.image.lock.release()
        board.plant.cycle()

    FakeNVS.on_write = on_write
    board.pm.stop()
    assert seen == [True]


def test_resume_is_kept_however_long_nothing_has_changed():
    """Ticks wrap after 12.4 days, and what lies 6.2 days back looks like the future."""
    for days in (1, 6, 7, 9, 12, 13, 20):
        board = Board(True)
        board.pm.start()
        board.plant.run(2)
        board.house(20000)
        assert FakeNVS.stored["resume"] & 7 == 1, "it runs"
        for _ in range(days * 24):
            board.house(3600000)
        board.plant.now[im.ORDER] = im.ORDER_SPENT  # the restarts are used up
        board.house(0)
        assert FakeNVS.stored["resume"] & 7 == 0, "after %d days" % days


def test_resume_a_charge_goes_on_to_the_target_of_its_parameters_which_are_forgotten():
    """charge-ends: the parameters do not outlive a reset, the end that they gave the charge does; new ones change it."""
    board = started(resume_manual=True)
    board.pm.set_charge_params(ChargeParams(target_soc=50.5))
    board.pm.start_charging()
    board.run(8)
    for later in ((), (DischargeParams(),)):
        board = board.reset()
        for params in later:
            board.pm.set_discharge_params(params)
        board.run(8)
        assert board.plant.command() < 0
    board.plant.soc = 50.6
    board.run(4)
    assert board.plant.command() == 0 and board.pm.claims() == [], "not to max_soc"
    board = started(resume_manual=True)
    board.pm.start_charging()
    board.run(8)
    board = board.reset()
    board.run(2)
    board.pm.set_charge_params(ChargeParams(target_soc=40))
    board.run(2)
    assert board.pm.claims() == [], "nor does it ignore new ones"


def test_resume_new_timeouts_reach_what_goes_on():
    for operate, params in (("start_charging", ChargeParams), ("start_discharging", DischargeParams)):
        board = started(resume_manual=True)
        getattr(board.pm, operate)()
        board.run(8)
        board = board.reset()
        board.run(2)
        assert board.pm.claims()[0]["seconds_left"] is None
        set_params = board.pm.set_charge_params if params is ChargeParams else board.pm.set_discharge_params
        set_params(params(timeout_minutes=1))
        assert 0 < board.pm.claims()[0]["seconds_left"] <= 60


def test_resume_keeps_that_a_person_has_the_control():
    board = started()
    writes = FakeNVS.writes
    board.pm.remote.set_local(True)
    assert FakeNVS.writes == writes + 1, "before the call answers"
    board = board.reset()
    assert board.pm.is_local and any("a person has the control" in line for line in SAID)
    board.run(3)
    assert board.runs(), "what ran goes on all the same"
    board.pm.remote.set_local(False)
    board = board.reset()
    assert not board.pm.is_local


def test_resume_tries_again_to_store_that_a_person_has_the_control():
    board = started()
    FakeNVS.fails = [OSError(28)]
    board.pm.remote.set_local(True)
    assert board.pm.is_local
    FakeNVS.fails = None
    board.run(2)
    assert board.reset().pm.is_local


def test_resume_forgets_local_control_that_a_page_took_for_a_time():
    page = object()
    board = started()
    board.pm.remote.set_local(True, "web: operate 10.0.0.1", page)
    board.run(30)
    assert board.pm.is_local
    board = board.reset()
    assert not board.pm.is_local and not any("has the control" in line for line in SAID)
    board.pm.remote.set_local(True, "web: operate 10.0.0.1", page)
    board.pm.remote.set_local(True)
    board = board.reset()
    assert board.pm.is_local, "a person at the console took it for good meanwhile"
    board.pm.remote.set_local(False)
    assert not board.reset().pm.is_local


def limits(board):
    return [(limit["owner"], limit["discharge_kw"], limit["charge_kw"]) for limit in board.pm.curtailments()]


def test_resume_a_persons_limit_without_an_end_is_kept_and_said():
    board = started()
    writes = FakeNVS.writes
    board.pm.limit("console", None, 5)
    assert FakeNVS.writes == writes + 1, "before the call answers"
    board = board.reset()
    assert limits(board) == [("console", None, 5.0)]
    assert [line for line in SAID if "charge 5.0 kW" in line and "`limit off`" in line and "before the reset" in line]
    board.pm.claim("schedule", -20, 3600, "plan")
    board.run(4)
    assert board.runs() and board.plant.command() == -5000
    assert FakeNVS.writes == writes + 2, "that it has started by itself is counted: nothing else was written"
    board.pm.limit("console", 10.25, 0)
    board = board.reset().reset()
    assert limits(board) == [("console", 10.25, 0.0)]
    assert any("discharge 10.25 kW, charge 0.0 kW" in line for line in SAID)
    board.pm.limit("console")
    board = board.reset()
    assert limits(board) == [] and not any("limit" in line for line in SAID)


def test_resume_a_persons_limit_is_kept_also_where_nothing_starts():
    for before in (lambda pm: pm.stop(), lambda pm: pm.emergency_shutdown(), lambda pm: pm.set_constant_power(20)):
        board = started()
        board.pm.limit("console", 7)
        before(board.pm)
        board.run(3)
        board = board.reset(resume=False)
        board.run(2)
        assert not board.runs() and limits(board) == [("console", 7.0, None)]


def test_resume_limits_that_are_renewed_or_have_an_end_are_not_kept():
    board = started()
    writes = FakeNVS.writes
    board.pm.limit("ems", 5, 5)
    board.pm.curtail(3, 3)
    board.pm.limit("console", 4, 4, 3600)
    board.run(3)
    assert FakeNVS.writes == writes
    assert limits(board.reset()) == []
    board.pm.limit("console", 4, 4)
    board.pm.limit("console", 6, 6, 3600)
    assert limits(board.reset()) == [], "that one has taken its place"


def test_resume_tries_again_to_store_a_limit():
    board = started()
    FakeNVS.fails = [OSError(28)]
    board.pm.limit("console", 6, 5)
    assert limits(board) == [("console", 6.0, 5.0)] and len([line for line in SAID if "could NOT be stored" in line]) == 1
    FakeNVS.fails = None
    board.run(1)
    assert limits(board.reset()) == [("console", 6.0, 5.0)]


def test_resume_a_limit_that_cannot_be_is_the_safe_side_of_it():
    for stored, kw in ((-5, 0.0), (-(1 << 31), 0.0), ((1 << 31) - 1, 1000.0), (1, 0.0), (1001, 1.0)):
        Board(True)
        FakeNVS.stored = {"limit_chg": stored}
        assert limits(Board()) == [("console", None, kw)], stored


# ---- orders of an EMS ------------------------------------------------------------------------------------------------


def _beside(board):
    """An EMS on this board, and that time passes for both."""
    ems = Ems(board.plant)
    ems.run(1)
    return ems


def _restarted(board, ems):
    """The next start: the service ends with the program."""
    ems.control.end()
    board = board.reset()
    ems = _beside(board)
    board.run(2)
    board.plant.pm.claim("optimiser", 10.0, 3600, "tariff")
    ems.run(5)
    return board, ems


def test_resume_the_permit_that_an_ems_has_taken_outlives_a_reset_and_is_given_back_by_it():
    board = started()
    ems = _beside(board)
    ems.put(703, 2, 0)
    ems.run(0.1)  # and power goes before the house loop runs
    for _ in range(2):
        board, ems = _restarted(board, ems)
        assert ems.get(703, 2) == 0 and board.runs() and board.plant.command() == 0
    ems.put(703, 2, 1)
    ems.run(5)
    assert board.plant.command() == 10000
    board.house()
    board, ems = _restarted(board, ems)
    assert ems.get(703, 2) == 1 and board.plant.command() == 10000


def test_resume_a_standby_outlives_a_reset_too_and_a_person_ends_both():
    board = started()
    ems = _beside(board)
    ems.put(703, 2, 0)
    ems.put(715, 8, 2)
    ems.run(0.1)
    board, ems = _restarted(board, ems)
    assert ems.get(703, 2) == 0 and ems.get(715, 8) == 2 and board.plant.command() == 0
    board.pm.remote.set_local(True)
    ems.run(0.5)
    board.pm.remote.set_local(False)
    ems.run(5)
    board.house()
    assert ems.get(703, 2) == 1 and ems.get(715, 8) == 1 and board.plant.command() == 10000
    board, ems = _restarted(board, ems)
    assert ems.get(703, 2) == 1 and ems.get(715, 8) == 1 and board.plant.command() == 10000


def _disconnected(seconds=60):
    board = started()
    ems = _beside(board)
    ems.put(123, 3, seconds)
    ems.put(123, 4, 0)
    ems.run(3)
    assert not board.runs()
    board.house()
    board, ems = _restarted(board, ems)
    assert not board.runs()
    return board, ems


def test_resume_what_an_ems_has_disconnected_is_read_so_after_a_reset_and_connected_by_it():
    board, ems = _disconnected()
    assert ems.get(123, 4) == 0 and ems.get(802, 50) == 2
    ems.put(123, 4, 1)
    ems.run(5)
    assert board.runs() and ems.get(123, 4) == 1 and ems.get(802, 50) == 1
    board.house()
    board, ems = _restarted(board, ems)
    assert board.runs() and ems.get(123, 4) == 1


def test_resume_a_disconnection_does_not_outlive_what_a_person_orders():
    board, ems = _disconnected()
    board.pm.start()
    ems.run(3)
    assert board.runs() and ems.get(123, 4) == 1
    board.house()
    board, ems = _restarted(board, ems)
    assert board.runs() and ems.get(123, 4) == 1
    board, ems = _disconnected()
    board.pm.stop()
    ems.run(3)
    board.house()
    board, ems = _restarted(board, ems)
    ems.put(123, 4, 1)
    ems.run(5)
    assert not board.runs() and ems.get(123, 4) == 1


def test_resume_a_permit_that_comes_and_goes_does_not_wear_out_the_flash():
    board = started()
    ems = _beside(board)
    before = FakeNVS.writes
    for _ in range(100):
        ems.put(703, 2, 0)
        ems.run(0.1, polls=False)
        board.house(100)
        ems.put(703, 2, 1)
        ems.run(0.1, polls=False)
        board.house(100)
    assert FakeNVS.writes - before <= 2 * 3, FakeNVS.writes - before
    board.house()
    board, ems = _restarted(board, ems)
    assert ems.get(703, 2) == 1


def test_resume_a_permit_that_cannot_be_stored_is_tried_again():
    board = started()
    ems = _beside(board)
    FakeNVS.fails = [OSError("no space")]
    ems.put(703, 2, 0)
    ems.run(0.1)
    assert board.plant.command() == 0 and "could NOT be stored" in SAID[-1]
    FakeNVS.fails = None
    board.house(1100)
    board, ems = _restarted(board, ems)
    assert ems.get(703, 2) == 0


class Application:
    """What the service uses of it."""

    class metering:
        class loop_time:
            @staticmethod
            def take_turn():
                return True


def test_resume_a_heap_too_full_to_look_at_what_runs_is_no_error_of_the_house():
    board = started()
    service = Service("emergency_memory", {}, board.pm, Application)
    real = board.pm.going_on
    board.pm.going_on = full
    service.step()
    board.pm.going_on = real
    service.step()
    board.pm.emergency_shutdown()
    assert FakeNVS.stored["emergency"] == 1


def full():
    raise MemoryError("memory allocation failed, allocating 48 bytes")


def test_resume_an_emergency_that_arises_when_the_house_has_ended_is_stored_at_the_end():
    board = started()
    service = Service("emergency_memory", {}, board.pm, Application)
    service.step()
    board.pm.halt()
    board.pm.states.enter_emergency(3)  # as the cycle does on the way to the end, in which nobody calls step()
    for _ in service.last_steps():
        pass
    assert FakeNVS.stored["emergency"] == 5


def test_resume_a_stop_on_the_way_to_the_end_is_a_stop():
    for stop in (lambda pm: pm.stop(), lambda pm: pm.remote.stop()):
        board = started()
        board.pm.halt()
        stop(board.pm)
        board.plant.cycles(1)
        board.pm.halt()  # again and again, until the contactors are open
        for _ in Service.last_steps(board):
            pass
        board = board.reset()
        board.run(5)
        assert not board.runs() and board.pm.image.now[im.ORDER] == im.ORDER_NONE


def test_resume_nor_is_a_pause_forgotten_that_comes_there():
    for before, after in (("runs", "started again, paused"), ("paused", "started again, paused"), ("stopped", "it stood still")):
        board = started()
        if before == "paused":
            board.pm.stop_operation()
        elif before == "stopped":
            board.pm.stop()
        board.run(2)
        board.pm.halt()
        board.pm.stop_operation(30)
        board.plant.cycles(1)
        board.pm.halt()
        for _ in Service.last_steps(board):
            pass
        board = board.reset()
        assert after in board.resume.text, (before, board.resume.text)
        assert [claim["goal"] for claim in board.pm.claims()] == ["pause"]
