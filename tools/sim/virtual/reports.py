"""What devices report, written into a process image as their drivers write it: whole numbers in the slots' units, group by group.

An image is a bank's or the site's; what is measured comes from measure.py and physics/bms.py.
Install host_tests.shims before importing this file.
"""

from typing import Any

from firmware import image as im
from tools.sim import measure
from tools.sim.measure import STEP_W, InverterSensors, MeterSensors
from tools.sim.physics.bms import BmsReport


def write_bms(image: Any, r: BmsReport) -> None:
    """All five groups of a battery."""
    inp, heard = image.inp, image.heard
    inp[im.BMS_V] = round(r.voltage_v * 10)
    inp[im.BMS_I] = round(r.current_a * 10)
    inp[im.BMS_TEMP] = round(r.temperature_c * 10)
    inp[im.BMS_SOC] = r.soc_pct * 100
    inp[im.BMS_SOH] = r.soh_pct * 100
    heard(im.SEQ_BMS)
    inp[im.BMS_V_MAX] = round(r.charge_cutoff_v * 10)
    inp[im.BMS_V_MIN] = round(r.discharge_cutoff_v * 10)
    inp[im.BMS_I_CHG] = round(r.charge_limit_a * 10)
    inp[im.BMS_I_DIS] = round(r.discharge_limit_a * 10)
    heard(im.SEQ_BMS_LIMITS)
    inp[im.CELL_V_MAX] = r.cell_max_mv
    inp[im.CELL_V_MIN] = r.cell_min_mv
    heard(im.SEQ_BMS_CELLS)
    inp[im.CELL_T_MAX] = round(r.cell_max_c * 10)
    inp[im.CELL_T_MIN] = round(r.cell_min_c * 10)
    heard(im.SEQ_BMS_TEMPS)
    inp[im.BMS_STATUS] = r.status
    inp[im.BMS_REQUESTS] = (
        im.BMS_REQ_NO_CHARGE * r.charge_forbidden
        | im.BMS_REQ_NO_DISCHARGE * r.discharge_forbidden
        | im.BMS_REQ_FORCE_CHARGE * r.force_charge
        | im.BMS_REQ_BALANCE * r.balancing
    )
    # The bits of physics.bms are numbered as the image's BMS_PROT_*.
    inp[im.BMS_PROTECT] = r.protection
    inp[im.BMS_ALARM] = r.alarm
    heard(im.SEQ_BMS_FLAGS)


def measure_pcs(image: Any, sensors: InverterSensors) -> None:
    """The values of an inverter, without the report that they have come."""
    inp, pcs, dc = image.inp, sensors.pcs, sensors.dc
    volts, power, dc_v = sensors.volts(), sensors.watts(), sensors.dc_volts()
    charge, discharge = pcs.limits_w()
    inp[im.PCS_STATE] = pcs.state
    inp[im.PCS_P] = round(power / STEP_W) * STEP_W
    inp[im.PCS_Q] = 0
    inp[im.PCS_V] = round(volts * 10)
    inp[im.PCS_I] = round(measure.amps(abs(power), volts) * 10)
    inp[im.PCS_HZ] = round(sensors.hertz() * 1000)
    inp[im.PCS_DC_V] = round(dc_v * 10)
    inp[im.PCS_DC_I] = round(dc.current_a * 10)
    inp[im.PCS_DC_P] = round(dc.current_a * dc_v)
    inp[im.PCS_P_CHG] = round(charge)
    inp[im.PCS_P_DIS] = round(discharge)
    inp[im.PCS_TEMP] = round(pcs.sink_c * 10)
    inp[im.PCS_ALARM] = pcs.alarm
    inp[im.PCS_GRID] = 1 if sensors.sees_grid() else 0
    inp[im.PCS_SETPOINT] = round(pcs.setpoint_w)


def measure_meter(image: Any, sensors: MeterSensors) -> None:
    """The values of the meter, without the report that they have come."""
    inp = image.inp
    volts, watts = sensors.volts(), sensors.watts()
    inp[im.METER_P] = round(watts / STEP_W) * STEP_W
    inp[im.METER_V] = round(volts * 10)
    inp[im.METER_I] = round(measure.amps(abs(watts), volts) * 10)
    inp[im.METER_HZ] = round(sensors.hertz() * 1000)


def write_pv(image: Any, watts: float) -> None:
    """The PV meter's group, from what it has measured."""
    image.inp[im.PV_P] = max(0, round(watts / STEP_W) * STEP_W)
    image.heard(im.SEQ_PV)


def write_io(image: Any, pressed: bool, closed: bool) -> None:
    """The board's own inputs: emergency stop and contactors."""
    inp = image.inp
    inp[im.IO_ESTOP] = 1 if pressed else 0
    inp[im.IO_CONTACTOR] = 1 if closed else 0
    image.heard(im.SEQ_IO)
