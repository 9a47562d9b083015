"""The EMS commands the battery as real clients do: their write sequences, what they mean, and that it is given back."""

from emsrig import BASE, Ems, Refused

from firmware import image as im
from firmware.modes import Mode
from host_tests.both.bankplant import BankPlant
from host_tests.both.plant import Plant


def _watts(ems):
    return ems.plant.command()


def _fast():
    return Ems(Plant(ramp_up=1000.0, ramp_down=1000.0).ready())


# ---- 704: setpoint -------------------------------------------------------------------------------------------


def test_an_enable_and_then_its_value_act_together():
    ems = _fast()
    ems.put(704, 23, 1)
    ems.put_long(704, 24, 80000)  # an older value that must never act
    ems.put(704, 22, 1)
    ems.put_long(704, 24, -30000)
    ems.run(0.15)
    assert _watts(ems) == -30000
    assert ems.pm.stats()["requested_by"] == "remote" and ems.owner() == "ems"
    assert ems.get(704, 22) == 1 and ems.get_long(704, 24) == -30000


def _phases(ems):
    """Steps of 5 ms, each after an idle time of its own, so that what is due now and then falls before one of them."""
    for phase in range(0, 240, 5):
        ems.run(0.5)
        for _ in range(phase // 5):
            ems.control.step(5)
        yield phase


def test_an_enable_whose_value_has_not_come_yet_does_not_act_whenever_it_comes():
    ems = _fast()
    ems.put(704, 23, 1)
    for phase in _phases(ems):
        ems.put(704, 22, 0)
        ems.put_long(704, 24, 80000)  # an older value that must never act
        ems.run(0.5)
        for _ in range(phase // 5):
            ems.control.step(5)
        ems.put(704, 22, 1)
        for _ in range(3):
            ems.control.step(5)
            assert ems.pm.claims() == [], phase
        ems.put_long(704, 24, -30000)
        ems.run(0.15)
        assert _watts(ems) == -30000


def test_the_same_of_a_limit_and_of_a_mode_and_its_rate():
    ems = _fast()
    for phase in _phases(ems):
        for model, enable, on, value in ((704, 14, 1, 15), (123, 9, 1, 5), (124, 5, 2, 12)):
            ems.put(model, enable, 0)
            ems.put(model, value, 0)
            ems.run(0.3)
            for _ in range(phase // 5):
                ems.control.step(5)
            ems.put(model, enable, on)
            for _ in range(3):
                ems.control.step(5)
                assert ems.limits() == (None, None), (model, phase)
            ems.put(model, value, 5000)
            ems.run(0.1)
            assert ems.limits() == (50.0, None), (model, phase)
            ems.put(model, enable, 0)
            ems.run(0.1)


def test_what_is_written_in_the_moment_in_which_the_time_runs_out_is_what_stands():
    for late_ms in range(5, 60, 5):
        ems = _fast()
        ems.put(704, 14, 1, 2000, 0, 1, 0, 2)  # 20 % for 2 s, then 0 %
        ems.put(704, 22, 1, 0, 0, 0, 0, 0, 1000, 0, 0, 0, 2)  # 10 % for 2 s, then nothing
        ems.put(124, 15, 2)
        ems.put(124, 12, 3000)
        ems.put(124, 5, 2)
        ems.control.step(40)
        for _ in range((1960 - late_ms) // 5):
            ems.control.step(5)
        ems.put(704, 15, 6000)
        ems.put(704, 28, 5000)
        ems.put(124, 12, 7000)
        for _ in range(20):
            ems.control.step(5)
        assert (ems.get(704, 14), ems.get(704, 15)) == (1, 6000), late_ms
        assert (ems.get(704, 22), ems.get(704, 28)) == (1, 5000), late_ms
        assert (ems.get(124, 5), ems.get(124, 12)) == (2, 7000), late_ms
        ems.run(0.5)
        assert _watts(ems) == 50000, late_ms


def test_a_disconnection_that_is_renewed_in_the_moment_in_which_it_runs_out_goes_on():
    for late_ms in range(5, 60, 5):
        ems = _fast()
        ems.put(123, 3, 2)
        ems.put(123, 4, 0)
        ems.control.step(40)
        for _ in range((1960 - late_ms) // 5):
            ems.control.step(5)
        ems.put(123, 4, 0)
        for _ in range(20):
            ems.control.step(5)
        assert ems.get(123, 4) == 0 and ems.pm.image.now[im.ORDER] == im.ORDER_STOP, late_ms
        for _ in range(400):
            ems.control.step(5)
        assert ems.get(123, 4) == 1 and ems.pm.image.now[im.ORDER] == im.ORDER_START


def test_one_reserve_of_the_two_that_is_written_after_both_have_ended_is_the_only_one():
    ems = _fast()
    ems.put(802, 9, 6000, 4500)
    ems.run(1)
    ems.run(61, polls=False)
    for offset, value, left, limits in ((10, 5500, (9000, 5500), (0.0, None)), (9, 4000, (4000, 2000), (None, 0.0))):
        assert (ems.get(802, 9), ems.get(802, 10)) == (9000, 2000)
        ems.put(802, offset, value)
        ems.run(1)
        assert (ems.get(802, 9), ems.get(802, 10)) == left and ems.limits() == limits
        ems.run(61, polls=False)


def test_within_two_cycles_the_setpoint_is_the_command():
    ems = _fast()
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(0.1)
    assert _watts(ems) == 10000
    ems.put_long(704, 24, 12000)
    ems.run(0.1)
    assert _watts(ems) == 12000


def test_the_setpoint_in_percent_of_the_rating():
    ems = _fast()
    ems.put(704, 28, 0x10000 - 2550)
    ems.put(704, 23, 0)
    ems.put(704, 22, 1)
    ems.run(0.15)
    assert _watts(ems) == -25500


def test_disabling_gives_back():
    ems = _fast()
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(0.2)
    ems.put(704, 22, 0)
    ems.run(0.3)
    assert _watts(ems) == 0 and ems.pm.claims() == []


def test_a_reversion_time_ends_the_setpoint_whatever_the_client_goes_on_asking():
    ems = _fast()
    ems.put_long(704, 31, 5)
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(1)
    assert _watts(ems) == 10000 and ems.get_long(704, 33) in (4, 5)
    ems.run(3)
    assert ems.get_long(704, 33) in (1, 2) and _watts(ems) == 10000
    ems.run(1.15)
    assert _watts(ems) == 0 and ems.get(704, 22) == 0 and ems.get_long(704, 33) == 0


def test_the_reversion_value_is_then_in_force_and_stays():
    ems = _fast()
    ems.put_long(704, 26, -5000)
    ems.put(704, 30, 1)
    ems.put_long(704, 31, 2)
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(1.9)
    assert _watts(ems) == 10000
    ems.run(0.3)
    assert _watts(ems) == -5000 and ems.get_long(704, 24) == -5000
    ems.run(200, polls=False)
    assert _watts(ems) == -5000, "nobody asks, and still the reversion value is what the EMS wanted"


def test_people_are_told_how_long_the_setpoint_really_lasts():
    ems = Ems()
    ems.put(704, 22, 1, 1, 0, 10000, 0, 0, 0, 0, 0, 0, 100)
    ems.run(5)
    assert 94 <= ems.pm.claims()[0]["seconds_left"] <= 96
    reason = ems.pm.stats()["reason"]
    assert "asked by remote (ems), 9" in reason and "3 s left" not in reason, reason
    ems.run(93.5)
    assert 0 < ems.pm.claims()[0]["seconds_left"] <= 2
    ems.run(3)
    assert ems.pm.claims() == []
    ems.put(704, 31, 0, 0)
    ems.put(704, 22, 1)
    ems.run(5)
    assert ems.pm.claims()[0]["seconds_left"] is None, "as long as the client asks"
    assert "left" not in ems.pm.stats()["reason"]
    ems.pm.remote.claim(5000, 3000, "ems")
    assert ems.pm.claims()[0]["seconds_left"] == 3, "of who says no more it is the claim's own time"


def test_people_are_told_how_long_a_limit_really_lasts():
    ems = Ems()
    ems.put(704, 14, 1, 2000, 0, 0, 0, 100)
    ems.run(5)
    assert 94 <= ems.pm.curtailments()[0]["seconds_left"] <= 96
    ems.pm.set_constant_power(50.0)
    ems.run(1)
    reason = ems.pm.stats()["reason"]
    assert "by remote" in reason and reason.endswith(": ems, 95 s left"), reason
    ems.put(123, 5, 1000, 0, 0, 0, 1)  # a second one, as long as the client asks: which of them ends is not the whole
    ems.run(2)
    assert ems.pm.curtailments()[0]["seconds_left"] is None
    ems.put(123, 9, 0)
    ems.put(704, 14, 0)
    ems.put(124, 12, 2000, 2000, 0, 50)
    ems.put(124, 5, 3)
    ems.run(5)
    assert 44 <= ems.pm.curtailments()[0]["seconds_left"] <= 46
    ems.put(802, 10, 9000)
    ems.run(2)
    assert ems.pm.curtailments()[0]["seconds_left"] is None, "the reserve binds too"
    assert ems.pm.claims()[0]["seconds_left"] is None, "and charges"
    ems.put(124, 12, 0xF830)
    ems.run(2)
    assert 44 <= ems.pm.claims()[0]["seconds_left"] <= 50


def test_writing_it_again_starts_the_timer_anew():
    ems = _fast()
    ems.put_long(704, 31, 3)
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    for _ in range(4):
        ems.run(2)
        ems.put_long(704, 24, 10000)
    ems.run(2)
    assert _watts(ems) == 10000
    ems.run(1.2)
    assert _watts(ems) == 0


def test_without_a_time_it_holds_while_the_client_asks_and_ends_when_it_is_silent():
    ems = _fast()
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(300)
    assert _watts(ems) == 10000
    ems.run(59, polls=False)
    assert _watts(ems) == 10000
    ems.run(1.5, polls=False)
    assert _watts(ems) == 0 and ems.get(704, 22) == 0


def test_somebody_elses_questions_keep_nothing_alive():
    ems = _fast()
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(0.2)
    ems.server.client = 1
    ems.run(61)
    assert _watts(ems) == 0


def test_when_it_ends_the_next_claim_takes_over():
    ems = _fast()
    ems.pm.claim("optimiser", 7.0, 3600, "tariff")
    ems.put_long(704, 31, 2)
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(1)
    assert _watts(ems) == 10000
    ems.run(1.3)
    assert _watts(ems) == 7000


# ---- limits: 704, 123 ----------------------------------------------------------------------------------------------


def test_victron_writes_five_registers_and_only_the_high_half_of_the_reversion_time():
    ems = _fast()
    ems.pm.set_constant_power(50.0)
    ems.put(704, 14, 1, 2000, 0, 1, 0)  # Ena, WMaxLimPct 20 %, Rvrt 0, EnaRvrt, the high word of RvrtTms
    ems.run(0.3)
    assert _watts(ems) == 20000 and ems.limits() == (20.0, None)
    assert ems.pm.stats()["why_discharge"] == "remote"
    ems.put(704, 14, 1, 10000, 0, 1, 0)
    ems.run(0.3)
    assert _watts(ems) == 50000
    ems.put(704, 14, 1, 2000, 0, 1, 0)
    ems.run(60.5, polls=False)  # it has gone: its own reversion value, 0 %, is in force
    ems.run(0.2, polls=False)
    assert _watts(ems) == 0 and ems.limits() == (0.0, None)


def test_a_half_written_reversion_time_keeps_its_other_half():
    ems = _fast()
    ems.put_long(704, 18, 70000)
    ems.put(704, 18, 0)
    assert ems.get_long(704, 18) == 70000 - 65536
    ems.put(704, 19, 9)
    assert ems.get_long(704, 18) == 9


def test_a_gateway_limits_by_123_with_60_seconds():
    ems = _fast()
    ems.pm.set_constant_power(50.0)
    whole = ems.read(ems.at(123, 2), 21)  # it reads the model and writes all of it back with its values
    whole[2], whole[3], whole[5], whole[7] = 1, 3000, 60, 1
    ems.put(123, 2, *whole)
    ems.run(0.3)
    assert _watts(ems) == 30000
    ems.run(59)
    assert _watts(ems) == 30000
    ems.run(1.2)
    assert _watts(ems) == 50000 and ems.get(123, 9) == 0


def test_windows_and_ramps_of_their_own_are_none_and_may_be_said_to_be_none():
    ems = _fast()
    for model, offset in ((123, 2), (123, 6), (123, 8), (124, 14), (124, 16)):
        assert ems.get(model, offset) == 0 and ems.refusal(model, offset, 0) == 0 and ems.refusal(model, offset, 10) == 3


def test_123_disconnects_and_brings_back_by_itself():
    ems = _fast()
    ems.pm.set_constant_power(50.0)
    ems.run(0.5)
    ems.put(123, 3, 10)
    ems.put(123, 4, 0)
    ems.run(5)
    assert ems.pm.mode == Mode.STANDBY
    ems.run(6)
    assert ems.pm.mode == Mode.IDLE and ems.get(123, 4) == 1


# ---- 124: storage ----------------------------------------------------------------------------------------------------


def test_evcc_forces_a_charge_holds_and_gives_back():
    ems = _fast()
    ems.pm.claim("optimiser", 12.0, 3600, "tariff")
    ems.put(124, 5, 2)  # hold: the discharge is bounded by 0 %
    ems.put(124, 12, 0)
    ems.run(0.3)
    assert _watts(ems) == 0 and ems.limits() == (0.0, None)
    ems.put(124, 17, 1)
    ems.put(124, 15, 0)
    ems.put(124, 12, 0x10000 - 5000)  # charge with half of WChaMax
    ems.run(0.3)
    assert _watts(ems) == -50000
    ems.put(124, 5, 0)
    ems.run(0.3)
    assert _watts(ems) == 12000 and ems.limits() == (None, None)


def test_a_negative_charge_rate_forces_a_discharge():
    ems = _fast()
    ems.put(124, 13, 0x10000 - 2000)
    ems.put(124, 5, 1)
    ems.run(0.3)
    assert _watts(ems) == 20000


def test_both_rates_bound_both_directions():
    ems = _fast()
    ems.put(124, 12, 3000)
    ems.put(124, 13, 1000)
    ems.put(124, 5, 3)
    ems.run(0.2)
    assert ems.limits() == (30.0, 10.0)
    ems.put(124, 5, 1)
    ems.run(0.2)
    assert ems.limits() == (None, 10.0)


def test_124_two_rates_that_exclude_each_other_are_said_and_one_on_the_way_to_the_other_direction_is_not():
    ems = _fast()
    ems.put(124, 12, 2000, 0x10000 - 2000)
    ems.put(124, 5, 3)
    ems.run(3)
    assert _watts(ems) == 20000 and ems.control.problem == ""
    ems.put(124, 12, 0x10000 - 3000)
    ems.run(1)
    ems.put(124, 13, 3000)
    ems.run(3)
    assert _watts(ems) == -30000 and ems.control.problem == ""
    ems.put(124, 13, 0x10000 - 3000)
    ems.run(5)
    assert _watts(ems) == 0 and "OutWRte" in ems.control.problem and "InWRte" in ems.control.problem


def test_124_ends_by_its_own_time():
    ems = _fast()
    ems.put(124, 15, 4)
    ems.put(124, 12, 0)
    ems.put(124, 5, 2)
    ems.run(3.8)
    assert ems.limits() == (0.0, None)
    ems.run(0.5)
    assert ems.limits() == (None, None) and ems.get(124, 5) == 0


def test_charging_from_the_grid_can_be_taken_away_and_only_given_where_the_site_has_it():
    ems = _fast()
    ems.put_long(704, 24, -30000)
    ems.put(704, 22, 1)
    ems.put(124, 17, 0)
    ems.run(1)
    assert _watts(ems) == 0 and ems.pm.stats()["why_charge"] == "grid_connection"
    ems.put(124, 17, 1)
    ems.run(1)
    assert _watts(ems) == -30000
    other = Ems(Plant(allow_grid_charging=False).ready())
    assert other.get(124, 17) == 0 and other.refusal(124, 17, 1) == 3


# ---- 802: reserves, connecting ------------------------------------------------------------------------------------------


def test_evcc_charges_and_holds_by_the_reserve():
    ems = _fast()
    soc = ems.get(802, 11)
    ems.pm.claim("optimiser", 12.0, 36000, "tariff")
    ems.put(802, 10, soc)
    ems.run(0.5)
    assert _watts(ems) == 0, "at its own state of charge the battery is held"
    ems.put(802, 10, 8000)
    ems.run(0.5)
    assert _watts(ems) == -100000, "below the reserve it is charged"
    ems.put(802, 10, 2000)
    ems.run(0.5)
    assert _watts(ems) == 12000


def test_a_reserve_is_charged_to_and_not_beyond():
    ems = _fast()
    ems.put(802, 10, 5200)
    ems.run(0.5)
    assert _watts(ems) == -100000
    for _ in range(300):
        ems.run(1)
        if _watts(ems) == 0:
            break
    assert 5190 <= ems.get(802, 11) <= 5210
    ems.run(30)
    assert _watts(ems) == 0


def test_nothing_charges_above_the_upper_reserve():
    ems = _fast()
    ems.put_long(704, 24, -30000)
    ems.put(704, 22, 1)
    ems.put(802, 9, 4000)
    ems.run(0.5)
    assert _watts(ems) == 0 and ems.limits() == (None, 0.0)


def test_reserves_that_cross_are_refused_as_a_whole():
    ems = _fast()
    ems.put(802, 9, 6000, 4500)
    for offset, words in ((9, (4000, 4500)), (10, (6001,)), (9, (4499,)), (9, (0, 1))):
        assert ems.refusal(802, offset, *words) == 3, words
        assert (ems.get(802, 9), ems.get(802, 10)) == (6000, 4500)
    ems.put(802, 9, 4000, 3000)  # together: one after the other they would cross in between
    ems.put(802, 10, 4000)
    assert (ems.get(802, 9), ems.get(802, 10)) == (4000, 4000), "at one state of charge it is held"


def test_each_server_of_a_site_keeps_its_own_orders_over_a_reset():
    ems = _fast()
    other = Ems(ems.plant)
    ems.put(703, 2, 0)
    other.put(715, 8, 2)
    for one in (ems, other) * 4:
        one.run(0.3)
    kept = ems.pm.held
    again = Plant()
    again.pm.held = kept
    first, second = Ems(again.ready()), Ems(again)
    for one in (first, second) * 4:
        one.run(0.3)
    assert (first.get(703, 2), first.get(715, 8)) == (0, 1)
    assert (second.get(703, 2), second.get(715, 8)) == (1, 2)
    second.put(715, 8, 3)
    for one in (first, second) * 4:
        one.run(0.3)
    assert again.pm.held and again.pm.held != kept, "the other's stands"


def test_an_order_for_which_there_is_no_heap_is_carried_out_in_the_next_step():
    ems = _fast()
    remote = ems.pm.remote
    stop = remote.stop
    tries = []

    def starved():
        tries.append(1)
        if len(tries) < 3:
            raise MemoryError
        stop()

    remote.stop = starved
    ems.put(715, 8, 0)
    for _ in range(20):
        try:
            ems.control.step(25)
        except MemoryError:
            pass
    assert len(tries) == 3 and ems.pm.image.now[im.ORDER] == im.ORDER_STOP


def test_disconnecting_and_connecting_the_battery():
    ems = _fast()
    ems.put(802, 50, 2)
    ems.run(5)
    assert ems.pm.mode == Mode.STANDBY and ems.get(802, 22) == 1
    ems.put(802, 50, 1)
    ems.run(5)
    assert ems.pm.mode == Mode.IDLE and ems.get(802, 22) == 3


def test_mandatory_points_that_mean_nothing_here_refuse():
    ems = _fast()
    assert ems.refusal(802, 51, 1) == 3  # SetInvState
    assert ems.refusal(123, 14, 1) == 3 and ems.refusal(123, 14, 0) == 0  # OutPFSet_Ena
    for model in (705, 706, 711, 712):
        assert ems.refusal(model, 2, 1) == 3 and ems.refusal(model, 2, 0) == 0


# ---- 703, 715, ramp ----------------------------------------------------------------------------------------------------


def test_without_the_permit_to_enter_service_there_are_0_watts_at_once():
    ems = Ems()
    ems.put_long(704, 24, 40000)
    ems.put(704, 22, 1)
    ems.run(5)
    assert _watts(ems) == 40000
    ems.put(703, 2, 0)
    ems.run(0.15)
    assert _watts(ems) == 0
    ems.put(703, 2, 1)
    ems.run(5)
    assert _watts(ems) == 40000


def test_stop_start_and_standby():
    ems = _fast()
    ems.put_long(704, 24, 40000)
    ems.put(704, 22, 1)
    ems.put(715, 8, 2)
    ems.run(0.3)
    assert _watts(ems) == 0 and ems.pm.mode != Mode.STANDBY
    ems.put(715, 8, 3)
    ems.run(0.3)
    assert _watts(ems) == 40000
    ems.put(715, 8, 0)
    ems.run(5)
    assert ems.pm.mode == Mode.STANDBY
    ems.put(715, 8, 1)
    ems.run(5)
    assert ems.pm.mode == Mode.DISCHARGE


def test_the_ramp_is_the_ems_s_as_far_as_it_is_slower():
    ems = Ems()  # 20 kW/s
    assert ems.get(704, 49) == 20 and ems.refusal(704, 49, 21) == 3
    ems.put(704, 49, 5)
    ems.put_long(704, 24, 40000)
    ems.put(704, 22, 1)
    ems.run(2)
    assert 9000 <= _watts(ems) <= 10000


def test_heartbeats_go_both_ways():
    ems = _fast()
    first = ems.get_long(715, 3)
    ems.run(3)
    assert ems.get_long(715, 3) == first + 3
    ems.put_long(715, 5, 0xFFFFFFFE - 0x100000000)
    assert ems.read(ems.at(715, 5), 2) == [0xFFFF, 0xFFFE]


# ---- refusals -------------------------------------------------------------------------------------------------------------


def test_a_person_has_the_control():
    ems = _fast()
    ems.put_long(704, 24, 40000)
    ems.put(704, 22, 1)
    ems.run(0.5)
    ems.pm.remote.set_local(True)
    ems.run(0.5)
    assert _watts(ems) == 0 and ems.get(715, 2) == 1
    assert ems.refusal(704, 22, 1) == 1
    ems.pm.remote.set_local(False)
    ems.run(0.5)
    assert _watts(ems) == 0 and ems.get(715, 2) == 0, "what was commanded before does not come back"


def test_in_an_emergency_only_a_reset_is_accepted():
    ems = _fast()
    ems.put_long(704, 24, 40000)
    ems.put(704, 22, 1)
    ems.run(0.5)
    ems.plant.force[55] = 1  # the emergency stop
    ems.run(1)
    assert ems.refusal(704, 22, 1) == 6 and ems.get(704, 22) == 0
    ems.plant.force[55] = 0
    ems.run(1)
    ems.put(715, 7, 1)
    ems.run(0.2)
    assert ems.pm.mode == Mode.STANDBY
    ems.pm.start()
    ems.run(3)
    assert _watts(ems) == 0


def test_an_emergency_that_a_person_has_commanded_is_a_person_s_to_reset():
    ems = _fast()
    ems.pm.emergency_shutdown()
    ems.run(0.2)
    ems.put(715, 7, 1)
    ems.put(802, 20, 1)
    ems.run(1)
    assert ems.pm.mode == Mode.EMERGENCY and "a person's" in ems.control.problem
    ems.pm.reset_emergency()
    assert ems.pm.mode == Mode.STANDBY


def test_a_reset_that_was_done_is_read_as_none_and_not_done_again_by_who_writes_back_what_it_reads():
    for model, offset in ((715, 7), (802, 20)):
        ems = _fast()
        ems.put(model, offset, 1)
        assert ems.get(model, offset) == 1, "a write is read back"
        ems.run(0.9)
        assert ems.get(model, offset) == 1
        ems.run(0.5)
        assert ems.get(model, offset) == 0, (model, offset)
    block = ems.read(ems.at(715, 5), 4)
    ems.plant.force[55] = 1  # the emergency stop
    ems.run(1)
    ems.plant.force[55] = 0
    ems.run(1)
    assert ems.refusal(715, 5, 0, 7, *block[2:3]) == 0
    ems.run(1)
    assert ems.pm.mode == Mode.EMERGENCY, "that was a heartbeat"


def test_a_reset_that_is_written_and_taken_back_at_once_is_done():
    for model, offset in ((715, 7), (802, 20)):
        ems = _fast()
        ems.plant.force[55] = 1  # the emergency stop
        ems.run(1)
        ems.plant.force[55] = 0
        ems.run(1)
        ems.put(model, offset, 1)
        ems.put(model, offset, 0)
        ems.run(0.2)
        assert ems.pm.mode == Mode.STANDBY, (model, offset)
        ems.plant.force[55] = 1
        ems.run(1)
        ems.plant.force[55] = 0
        ems.run(1)
        ems.pm.remote.set_local(True)
        assert ems.refusal(model, offset, 1) == 1
        ems.pm.remote.set_local(False)
        ems.put(model, offset, 0)
        ems.run(1)
        assert ems.pm.mode == Mode.EMERGENCY, "that was none"


def test_a_reset_does_nothing_while_the_cause_stands():
    ems = _fast()
    ems.plant.force[55] = 1  # the emergency stop
    ems.run(1)
    assert ems.pm.mode == Mode.EMERGENCY
    ems.put(802, 20, 1)
    ems.run(1)
    assert ems.pm.mode == Mode.EMERGENCY and "cause" in ems.control.problem


def test_what_is_refused_changes_nothing():
    ems = _fast()
    before = list(ems.chain.registers)
    for code, model, offset, words in (
        (1, 701, 10, (0,)),  # measured
        (1, 1, 66, (2,)),  # the unit's number
        (1, 704, 31, (0, 10, 0)),  # its neighbour counts down by itself
        (3, 704, 14, (1, 10001, 0, 1, 0)),  # the second of five is out of range
        (3, 704, 24, (0x0001, 0x86A1)),  # 100.001 kW
        (3, 704, 24, (0x4000, 0)),  # far beyond
        (3, 704, 24, (0x8000, 0)),  # "not implemented" is no setpoint
        (3, 704, 22, (2,)),
        (3, 704, 31, (0xFFFF, 0xFFFF)),
        (3, 124, 12, (0x8000,)),
        (3, 802, 50, (0,)),
    ):
        assert ems.refusal(model, offset, *words) == code, (model, offset, words)
    assert list(ems.chain.registers) == before
    ems.run(0.3)
    assert ems.pm.claims() == [] and ems.pm.curtailments() == []


def test_half_of_a_power_is_no_power():
    ems = _fast()
    ems.put_long(704, 24, 10000)
    for offset, word in ((24, 0xFFFF), (25, 1000), (26, 0xFFFF), (27, 5)):
        assert ems.refusal(704, offset, word) == 3, offset
    assert ems.refusal(704, 22, 1, 1, 0xFFFF) == 3 and ems.refusal(704, 25, 1000, 0, 0) == 3
    assert ems.get_long(704, 24) == 10000 and ems.get(704, 22) == 0
    ems.put(704, 22, 1, 1, 0xFFFF, 0xB1E0)
    ems.run(0.2)
    assert _watts(ems) == -20000


def test_addresses_that_are_none():
    ems = _fast()
    for address, count in ((39999, 1), (BEHIND, 1), (BEHIND - 1, 2), (0, 10)):
        try:
            ems.read(address, count)
        except Refused as refused:
            assert refused.code == 2
        else:
            raise AssertionError("read %d" % address)
    assert len(ems.read(BEHIND - 125, 125)) == 125
    assert ems.read(40000, 2, unit=126) == [0x5375, 0x6E53]


BEHIND = 40956


# ---- curves ---------------------------------------------------------------------------------------------------------------


def test_a_curve_is_stored_and_adopted_when_it_can_be():
    ems = _fast()
    assert ems.refusal(705, 15, 3) == 3, "curve 1 is the one in force"
    ems.put(705, 15 + 18 + 10, 930, 400, 980, 0, 1020, 0, 1070, 0x10000 - 400)
    assert ems.get(705, 25) == 920
    ems.put(705, 3, 2)
    ems.run(0.2)
    assert ems.get(705, 4) == 1
    assert ems.read(ems.at(705, 25), 2) == [930, 400] and ems.get(705, 24) == 1
    ems.put(705, 15 + 18 + 12, 920)  # falls back: no curve
    ems.put(705, 3, 2)
    ems.run(0.2)
    assert ems.get(705, 4) == 2 and ems.get(705, 27) == 980
    assert ems.refusal(705, 3, 3) == 3 and ems.refusal(705, 3, 0) == 3


def test_the_result_of_a_request_is_never_that_of_the_one_before():
    ems = _fast()
    ems.put(705, 3, 2)
    ems.run(0.2)
    assert ems.get(705, 4) == 1
    ems.put(705, 15 + 18 + 12, 900)  # falls back: no curve
    ems.put(705, 3, 2)
    assert ems.get(705, 4) == 2, "asked at once"
    ems.put(705, 3, 1)
    ems.plant.force[55] = 1  # the emergency stop, in the same moment
    ems.run(1)
    assert ems.get(705, 4) == 1


def test_a_droop_is_adopted_too():
    ems = _fast()
    ems.put_long(711, 24, 17)
    ems.put(711, 3, 2)
    ems.run(0.2)
    assert ems.get(711, 4) == 1 and ems.get_long(711, 14) == 17


# ---- what must not come back, and what must ---------------------------------------------------------------------------------


def test_in_maintenance_nothing_is_accepted_and_nothing_comes_back():
    ems = _fast()
    ems.pm.stop()
    ems.run(5)
    ems.pm.set_mode(Mode.MAINTENANCE)
    ems.run(0.5)
    assert ems.get(715, 2) == 1 and ems.get(802, 17) == 1
    assert ems.refusal(704, 22, 1) == 1 and ems.get(704, 22) == 0
    ems.pm.set_mode(Mode.STANDBY)
    ems.pm.start()
    ems.run(5)
    assert ems.get(715, 2) == 0 and _watts(ems) == 0


def test_a_disconnection_that_runs_out_after_an_emergency_starts_nothing():
    ems = _fast()
    ems.put(123, 3, 20)
    ems.put(123, 4, 0)
    ems.run(2)
    ems.pm.emergency_shutdown()
    ems.run(1)
    ems.pm.reset_emergency()
    ems.run(30)
    assert ems.pm.mode == Mode.STANDBY and ems.get(123, 4) == 1


def test_what_a_write_and_an_emergency_at_the_same_time_leave_is_nothing():
    ems = _fast()
    ems.put_long(704, 24, 40000)
    ems.put(704, 22, 1)
    ems.pm.emergency_shutdown()
    ems.run(1)
    ems.pm.reset_emergency()
    ems.pm.start()
    ems.run(5)
    assert _watts(ems) == 0 and ems.get(704, 22) == 0


def test_a_service_that_is_stopped_gives_back_what_it_had_changed():
    ems = Ems()
    ems.put(704, 49, 5)
    ems.put(124, 17, 0)
    ems.put(124, 5, 2)
    ems.put(124, 12, 0)
    ems.put_long(704, 24, -40000)
    ems.put(704, 22, 1)
    ems.run(2)
    ems.control.end()
    assert ems.pm.claims() == [] and ems.pm.curtailments() == []
    ems.plant.run(4)
    ems.pm.set_constant_power(-40.0)
    ems.plant.run(3)
    assert _watts(ems) == -40000, "the configured ramp, from the grid"


def test_each_of_several_banks_has_a_port_and_what_follows_is_found_behind_them():
    plant = BankPlant(((1, 1), (1, 1), (1, 1)))
    plant.batteries[1].force[im.BMS_TEMP] = 311
    plant.ready()
    ems = Ems(plant)
    assert ems.get(714, 1) == 18 + 25 * 3 and ems.get(714, 4) == 3
    temperatures = []
    for bank, image in enumerate(plant.image.banks):
        port = 20 + 25 * bank
        assert ems.get(714, port) == 1 and ems.get(714, port + 1) == bank + 1
        assert ems.get_signed(714, port + 10) == image.now[im.PCS_DC_I]
        assert ems.get(714, port + 22) == 1, "the contactors are closed"
        temperatures.append(ems.get_signed(714, port + 21))
    assert temperatures[1] == 311 and temperatures[0] != 311
    assert ems.get(715, 0) == 715 and ems.get(802, 0) == 802
    whole = [word for at in range(0, ems.chain.size, 100) for word in ems.read(BASE + at, min(100, ems.chain.size - at))]
    assert whole == [ems.read(BASE + at, 1)[0] for at in range(ems.chain.size)]
    assert whole[-2:] == [0xFFFF, 0]
    ems.put(802, 10, 3000)  # SoCRsvMin, behind the ports
    assert ems.get(802, 10) == 3000
    before = ems.read(ems.starts[714], 95)
    for offset in range(95):
        assert ems.refusal(714, offset, 1) == 1
    assert ems.read(ems.starts[714], 95) == before


def test_what_a_full_heap_keeps_from_being_given_back_is_given_back_at_the_next_look():
    """A claim and a limit of which the controller thinks that they are gone would act until their time is over."""
    for what, model, enable in (("release", 704, 22), ("limit", 704, 14)):
        ems = _fast()
        pm = ems.pm
        if what == "release":
            ems.put(704, 23, 1)
            ems.put_long(704, 24, 40000)
        else:
            ems.put(704, 15, 3000)
            pm.set_constant_power(60)
        ems.put(model, enable, 1)
        ems.run(1)
        assert _watts(ems) == (40000 if what == "release" else 30000), (what, _watts(ems))
        holder = pm if what == "release" else pm.remote
        real = getattr(holder, what)
        short = [1]

        def full(*given, short=short, real=real):
            if short:
                short.pop()
                raise MemoryError("memory allocation failed, allocating 32 bytes")
            return real(*given)

        setattr(holder, what, full)
        ems.put(model, enable, 0)
        raised = 0
        for _ in range(40):
            try:
                ems.control.step(20)
            except MemoryError:
                raised += 1
        setattr(holder, what, real)
        assert raised == 1 and not short
        assert pm.claims() == [] if what == "release" else pm.curtailments() == [], (what, pm.claims(), pm.curtailments())

