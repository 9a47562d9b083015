"""Commissioning's judgement: which mistake makes a meter follow so, how fast a step was, how sure a scale is."""

import asyncio
import math
import random
from typing import Any

import pytest

from host_tests.unit.commission_ports import NoHand, Replies
from tools.commission import flows, inputs, judge, losses, phases, scales
from tools.commission.bench import NO_VALUE, Agreed, Bench
from tools.commission.outcome import Failed, NotTested, Outcome
from tools.commission.wire import Console
from tools.sim.healthy import plant
from tools.sim.measure import ONE_TURNED, SWAPPED, TURNED, WIRED, Gauss, MeterSensors, Wiring


# ---- what a share of the power means ----------------------------------------------------------------------
def seen_by(wiring: Wiring) -> float:
    """The share of the true power that the simulated meter shows with its transformers so."""
    sensors = MeterSensors(plant(), Gauss(random.Random(1)))
    sensors.wiring = wiring
    return sum(sensors.shares()) / 3


@pytest.mark.parametrize(
    ("wiring", "words", "factor"),
    [
        (WIRED, (), 1.0),
        (TURNED, ("turned", "all"), -1.0),
        (ONE_TURNED, ("one phase", "other way"), 1.0),
        (((0, -1), (1, -1), (2, 1)), ("two phases", "other way"), 1.0),
        (SWAPPED, ("two of its phases", "swapped"), 1.0),
        (((1, 1), (2, 1), (0, 1)), ("all three phases", "circle"), 1.0),
    ],
)
def test_each_way_to_wire_a_meter_is_named(wiring: Wiring, words: tuple[str, ...], factor: float) -> None:
    for noise in (-0.07, 0.0, 0.07):
        reading = judge.share(seen_by(wiring) + noise)
        assert bool(reading.text) == bool(words), (wiring, noise, reading)
        assert all(word in reading.text for word in words), reading
        assert reading.factor == factor
        assert reading.wiring == (bool(words) and factor == 1.0), "a factor mends a turned meter, nothing mends a swapped one"


@pytest.mark.parametrize(
    ("wiring", "words"),
    [
        (WIRED, ""),
        (TURNED, "L1 is turned, L2 is turned, L3 is turned"),
        (ONE_TURNED, "L1 is turned"),
        (((0, 1), (1, 1), (2, -1)), "L3 is turned"),
        (SWAPPED, "L1 and L2 are swapped"),
        (((2, 1), (1, 1), (0, 1)), "L1 and L3 are swapped"),
        (((2, 1), (0, 1), (1, 1)), "each sits behind the voltage of the next"),
    ],
)
def test_the_phases_tell_which_transformer_it_is(wiring: Wiring, words: str) -> None:
    sensors = MeterSensors(plant(), Gauss(random.Random(1)))
    sensors.wiring = wiring
    for noise in (-0.1, 0.0, 0.1):
        assert judge.phases([share + noise for share in sensors.shares()]) == words
    assert judge.phases([2.9, 0.05, -0.02]) == "", "a single-phase inverter is no mistake"


def test_a_meters_registers_are_three_powers_or_none() -> None:
    def words(*values: int) -> list[int]:
        return [value & 0xFFFF for value in values]

    assert phases.meant(words(133, -50, 0, 1)) == pytest.approx([1.33, -0.5, 0.0])
    assert phases.meant(words(1330, -500, 0, -1)) == pytest.approx([0.133, -0.05, 0.0])
    assert phases.meant(words(133, -0x8000, 0, 1)) == []
    assert phases.meant(words(133, 133, 133, 11)) == []
    assert phases.meant(words(133, 133)) == []


@pytest.mark.parametrize("size", [0.01, 0.1, 10, 100, 1000])
@pytest.mark.parametrize("way", [1, -1])
def test_a_scale_that_is_off_by_tens_is_named_with_the_factor_that_mends_it(size: float, way: int) -> None:
    if abs(size) < 0.13:  # so little is what swapped phases show too
        assert judge.decade(way * size) == pytest.approx(size)
        return
    reading = judge.share(way * size * 1.05)
    assert f"{size:g} times" in reading.text and ("turned" in reading.text) == (way < 0), reading
    assert reading.factor * way * size == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("slot", "scale", "seen", "wanted"),
    [("METER_P", 100, 10, 10), ("METER_P", -1, -1, 1), ("METER_P", 0.1, 0.1, 1), ("CMD_P", 0.1, 10, 1), ("CMD_P", -100, -1, 100),
     ("CMD_P", 1, 0.01, 0.01)],
)  # fmt: skip
def test_a_tables_row_is_mended_whichever_way_it_goes(slot: str, scale: float, seen: float, wanted: float) -> None:
    """A row that is read and one that is written: in both slot = number on the wire x scale."""
    row = {"slot": slot, "scale": scale} if slot == "METER_P" else {"from": slot, "scale": scale}
    part = "reads" if slot == "METER_P" else "writes"
    options = {"table": {"reads": [], "writes": [], part: [{"slot": "OTHER"}, row]}}
    patch = flows.scaled("box", options, slot, 1 / seen)
    assert patch == {f"devices.box.table.{part}.1.scale": pytest.approx(wanted)}
    assert flows.scaled("box", {"table": "a_file.json"}, slot, 0.1) == flows.scaled("box", {}, slot, 0.1) == {}


# ---- how fast ---------------------------------------------------------------------------------------------
def stepped(tau: float, dead: float, ramp: float, final: float, every: float = 0.1) -> tuple[judge.Points, judge.Points]:
    """A ramped command and an inverter of the first order behind it, as the monitor would show them."""
    fine = 0.001
    y, command, power = 0.0, [], []
    for n in range(round(15 / fine)):
        t = n * fine
        asked = max(0.0, min(1.0, (t - 0.5) / ramp)) * final
        late = max(0.0, min(1.0, (t - 0.5 - dead) / ramp)) * final
        y += (late - y) * (1 - math.exp(-fine / tau))
        if n % round(every / fine) == 0:
            command.append((t, asked))
            power.append((t, y))
    return command, power


@pytest.mark.parametrize("final", [30.0, -30.0])
@pytest.mark.parametrize(("tau", "dead"), [(0.1, 0.1), (0.1, 0.4), (0.5, 0.2), (2.5, 0.1)])
def test_a_step_has_the_dead_time_and_the_rise_that_the_inverter_has(tau: float, dead: float, final: float) -> None:
    ramp = 1.5
    found = judge.response(*stepped(tau, dead, ramp, final))
    assert found is not None
    exact = judge.response(*stepped(tau, dead, ramp, final, every=0.001))
    assert exact is not None
    for measured, true in zip(found, exact, strict=True):
        assert measured == pytest.approx(true, abs=0.12), "at ten samples a second"
    assert dead <= exact.dead <= dead + tau + 0.01
    if tau >= 2:
        assert exact.rise > 3.0 and exact.settling > 5.0
    if tau == 0.1:
        assert exact.rise < 0.1 and exact.settling < dead + 0.35


def test_no_whole_step_is_no_response() -> None:
    flat = [(t / 10, 0.0) for t in range(50)]
    command, power = stepped(0.1, 0.1, 1.5, 30.0)
    assert judge.response(flat, flat) is None
    assert judge.response(command[:2], power) is None
    assert judge.crossing(power, 40.0) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(3600, "1 hour fast"), (-7195, "2 hours slow"), (75, "75 s fast"), (-1800, "1800 s slow")]
)
def test_a_clock_that_is_off_by_hours_is_a_time_zone(seconds: float, words: str) -> None:
    text = judge.hours(seconds)
    assert text.startswith(words) and ("time zone" in text) == ("hour" in words)


# ---- how much ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rated", [5.0, 30.0, 100.0, 1000.0])
@pytest.mark.parametrize("level", scales.LEVELS)
@pytest.mark.parametrize("share", [0.5, 2.0, -1.0, 0.0])
def test_twice_or_half_of_the_smallest_level_is_out_of_its_bound(rated: float, level: int, share: float) -> None:
    kw = rated * level / 100
    assert abs(share * kw - kw) > judge.band(rated, kw)
    near = judge.meter_band(rated, kw, drift_kw=0.1 * kw)
    assert near is not None and abs(share * kw - kw) > near
    assert judge.meter_band(rated, kw, drift_kw=0.45 * kw) is None, "a load that moves so much leaves nothing to tell"


class Paper(Bench):
    """A site of 100 kW that shows these shares of a commanded power, and whose load moves by so much from one rest to the next."""

    def __init__(self, inverter: float = 1.0, meter: float = 1.0, drift: float = 0.0) -> None:
        super().__init__(Console(Replies()), {}, Agreed({}), NoHand())
        self.shares, self.drift, self.rests = (inverter, meter), drift, 0

    async def start(self) -> None: ...

    async def state(self) -> dict[str, Any]:
        return {"lim_dis": 100.0, "lim_chg": 100.0}

    async def hold(self, kw: float, seconds: float = 2.0, parts: bool = True) -> dict[str, float]:
        self.rests += kw == 0
        power, load = self.shares[0] * kw, 40.0 + self.drift * (self.rests % 2)
        return {"cmd": kw, "p": power, "grid_p": load - self.shares[1] * power, "kw_dc": power / (0.95 if kw > 0 else 1 / 0.95)}


@pytest.mark.parametrize(
    ("bench", "words"),
    [
        (Paper(), ""),
        (Paper(drift=0.5), ""),
        (Paper(inverter=2.0), "at +5.0 kW the inverter shows +10.0 kW"),
        (Paper(inverter=0.5), "at -5.0 kW the inverter shows -2.5 kW"),
        (Paper(meter=2.0), "at +5.0 kW the meter shows +10.0 kW"),
        (Paper(meter=0.5, drift=0.5), "at -5.0 kW the meter shows -2."),
        (Paper(drift=3.0), "too much to judge the meter"),
    ],
)
def test_a_scale_that_is_off_by_two_is_found_at_the_smallest_level(bench: Paper, words: str) -> None:
    bench.outcome = Outcome("scale", "Scale")
    try:
        asyncio.run(scales.scale(bench))
        text = ""
    except (Failed, NotTested) as error:
        text = str(error)
        assert isinstance(error, NotTested) == ("judge" in words), text
    assert (words in text) if words else not text, text
    for figure in bench.outcome.figures:
        assert figure.unit not in ("kW", "%") or not figure.bound or figure.unit in figure.bound, figure




def test_a_scale_of_ten_is_not_unsure_because_its_noise_is_ten_times_as_large() -> None:
    assert not flows.is_unsure([9.95, 10.31]) and not flows.is_unsure([-1.0, -0.9])
    assert flows.is_unsure([0.6, 1.0, 0.7]) and flows.is_unsure([7.0, 10.0, 11.0])


# ---- the emergency stop, and a lost device ----------------------------------------------------------------
def test_when_the_power_was_gone_for_good_is_told_from_when_it_passed_zero() -> None:
    seen = [(1.0, [5]), (1.1, [0]), (1.2, [3]), (1.3, [0]), (1.4, [0])]
    assert inputs.after(seen, 1.0, lambda values: values[0] == 0) == pytest.approx(0.3)
    assert inputs.after(seen, 1.35, lambda values: values[0] == 0) == pytest.approx(0.05)
    assert inputs.after(seen[:3], 1.0, lambda values: values[0] == 0) is None


def test_a_press_is_counted_from_the_last_look_that_did_not_see_it() -> None:
    assert inputs.pressed_at([(1.0, [0]), (1.1, [0]), (1.4, [1]), (1.5, [1])]) == 1.1
    assert inputs.pressed_at([(1.4, [1]), (1.5, [1])]) == 1.4
    late = [(0.0, [0]), (99.5, [0]), (100.0, [0]), (100.5, [1])]
    assert inputs.from_press(late) == [(-0.5, [0]), (0.0, [0]), (0.5, [1])]


def test_what_flows_is_told_by_the_battery_where_the_inverter_is_off() -> None:
    assert inputs.flowing_kw([4000, 6400, 50]) == 4.0
    assert inputs.flowing_kw([NO_VALUE, 6400, 50]) == pytest.approx(3.2)
    assert inputs.flowing_kw([NO_VALUE, 6400, NO_VALUE]) is None


def test_how_long_a_device_was_silent_is_the_boards_word_whenever_the_plug_was_pulled() -> None:
    never = losses.AGE_MAX_MS
    seen = [(0.0, [0, 60_000, 900, 100]), (0.1, [0, 60_100, 1000, 200])]
    seen += [(5.0, [0b110, 60_200, 1080, never]), (9.0, [0b110, 99_000, 5000, never])]
    assert losses.silence_s(seen, 0b010) == 1.08
    assert losses.silence_s(seen, 0b001) is None
    held_up = [(0.0, [0b10, 1030, 3000])]
    assert losses.silence_s(held_up, 0b10) == 1.03, "while the board was held up itself it could hear nobody"
