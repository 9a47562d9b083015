"""What the EMS's chain says that no point says by itself: states, alarms, what throttles, energies; made once a cycle at most.

Allocates nothing.
"""

from array import array

from micropython import const

from firmware import believed, faults
from firmware import image as im
from firmware.ems import tables as t
from firmware.modes import Mode

_INVERTER = const(b"\x00\x02\x07\x03\x06")  # 701 InvSt of image.PCS_*
_OLDER = const(b"\x01\x03\x08\x04\x07")  # 103 St of them
_THROTTLED = const(4)  # InvSt; St has one more of this and of the next
_SHUTTING_DOWN = const(5)
_MAX_W = const(1)  # 701 ThrotSrc
_DERATED = const(0x4000)
# Rows of the limit list that somebody has set: export, operation, remote, configuration; all others are what the plant leaves
_SET_ROWS = const(0x7800)
_NONE = const(31)
_GRID_LOST = const(16)  # of Alrm and Evt1: GRID_DISCONNECT
_UNDER_SOC = const(0x4000)  # of 802 Evt1: warnings
_OVER_SOC = const(0x10000)
_COUNTED = const(0x3FFFFFFF)
_MOST_K = const(1000000)
# 802 ChaSt
_OFF, _EMPTY, _DISCHARGING, _CHARGING, _FULL, _HOLDING = 1, 2, 3, 4, 5, 6


class Figures:
    """`own`: what is made, by tables.O_*; LOCAL and CONTROLS are whose who knows them (control.py).  `now`: what of the image is
    told, see firmware/believed.py.

    `before`: AC energy counted before this boot, turns of 30 bits and Wh, out of the battery, then into it.
    """

    def __init__(self, image, own) -> None:
        self._image = image
        self.own = own
        self._told = array("i", [0] * t.N_SLOTS)
        self.now = image.now
        self.before = array("i", (0, 0, 0, 0))
        self._severe = faults.mask(4, faults.FAULT) | faults.mask(4, faults.EMERGENCY)

    def make(self) -> None:
        """All of them, of the image as the last cycle left it."""
        now = self._image.now
        par = self._image.par
        told = self.now = believed.told(now, par, self._told)
        own = self.own
        self._states(now, told, own)
        self._throttling(now, par, own)
        self._alarms(now, par, own)
        self._battery(now, told, par, own)
        self._energies(now, par, own)
        volts = told[im.PCS_V] if told[im.PCS_V] != im.NO_VALUE else told[im.METER_V]
        own[t.O_LL_V] = volts
        own[t.O_LN_V] = volts if volts == im.NO_VALUE else volts * 1000 // 1732
        own[t.O_HZ] = told[im.PCS_HZ] if told[im.PCS_HZ] != im.NO_VALUE else told[im.METER_HZ]
        own[t.O_BEAT] = now[im.UPTIME_S]
        own[t.O_BEAT_LOW] = now[im.UPTIME_S] & 0x7FFF

    def _states(self, now, told, own) -> None:
        state = told[im.PCS_STATE]
        if not 0 <= state < len(_INVERTER):  # neither on nor off: nobody knows
            own[t.O_INV_STATE] = own[t.O_STATE] = own[t.O_ON] = im.NO_VALUE
        else:
            shown = _INVERTER[state]
            older = _OLDER[state]
            if state == im.PCS_RUNNING and (now[im.BOUND] or now[im.ORDER] == im.ORDER_STOP):
                shown = _SHUTTING_DOWN if now[im.ORDER] == im.ORDER_STOP else _THROTTLED
                older = shown + 1
            own[t.O_INV_STATE] = shown
            own[t.O_STATE] = older
            own[t.O_ON] = 1 if state == im.PCS_STANDBY or state == im.PCS_RUNNING else 0
        kind = self._image.par[im.PAR_GRID_TYPE]
        own[t.O_DER_MODE] = 2 if kind == 0 or (kind == 1 and not now[im.GRID_OK]) else 1  # grid forming, or following
        own[t.O_PV_STATE] = im.NO_VALUE
        own[t.O_PV_CONNECTED] = 0
        if self._image.par[im.PAR_HAS] & im.HAS_PV and told[im.PV_P] != im.NO_VALUE:
            own[t.O_PV_STATE] = 4 if told[im.PV_P] > 0 else 8
            own[t.O_PV_CONNECTED] = 7 if told[im.PV_P] > 0 else 3

    def _throttling(self, now, par, own) -> None:
        """By how much the row that binds is below the request, in whole percents of the rating, and whose row it is."""
        bound = now[im.BOUND]
        own[t.O_THROTTLED] = own[t.O_THROTTLED_BY] = 0
        if not bound:
            return
        charge = 1 if bound > 32 else 0
        short = abs(now[im.REQUEST_P]) - now[im.LIMIT_DIS + charge]
        rating = par[im.PAR_P_CHG] if charge else par[im.PAR_P_DIS]
        if short > 0 and rating > 0:
            own[t.O_THROTTLED] = min(100, (100 * short + rating - 1) // rating)  # at most 3e8
        own[t.O_THROTTLED_BY] = _MAX_W if _SET_ROWS >> ((bound - 1) & 31) & 1 else _DERATED

    def _alarms(self, now, par, own) -> None:
        alarms = 0 if now[im.GRID_OK] else _GRID_LOST
        battery = 0
        bits = now[im.FAULTS]
        at = 0
        while bits:
            if bits & 1:
                if t.FAULT_BITS[at] != _NONE:
                    alarms |= 1 << t.FAULT_BITS[at]
                if t.FAULT_BITS[at + 1] != _NONE:
                    battery |= 1 << t.FAULT_BITS[at + 1]
            bits >>= 1
            at += 2
        for warning in (0, 1):
            bits = max(0, now[im.BMS_ALARM if warning else im.BMS_PROTECT])
            at = warning
            while bits:
                if bits & 1:
                    battery |= 1 << t.PROTECTION_BITS[at]
                bits >>= 1
                at += 2
        soc = now[im.SOC]
        if soc != im.NO_VALUE:
            battery |= _UNDER_SOC if soc < par[im.PAR_SOC_MIN] else _OVER_SOC if soc > par[im.PAR_SOC_MAX] else 0
        own[t.O_ALARMS] = alarms
        own[t.O_EVENTS] = alarms & 0xFFFF  # 103 has no bit for a maker's alarm
        own[t.O_BATTERY_EVENTS] = battery

    def _broken(self, now) -> bool:
        return now[im.MODE] == Mode.EMERGENCY or now[im.FAULTS] & self._severe != 0

    def dc_state(self, now) -> int:
        """714 DCSta of a bank, or of the site."""
        return 3 if self._broken(now) else 1 if now[im.CMD_CONTACTOR] == 1 else 0

    def _battery(self, now, told, par, own) -> None:
        mode = now[im.MODE]
        soc = now[im.SOC]
        broken = self._broken(now)
        connected = mode == Mode.IDLE or mode == Mode.CHARGE or mode == Mode.DISCHARGE
        power = told[im.PCS_P]
        moves = power != im.NO_VALUE and abs(power) > par[im.PAR_FLOW_P]
        charging = _OFF
        if connected:
            charging = im.NO_VALUE if power == im.NO_VALUE else _HOLDING
            if moves:
                charging = _DISCHARGING if power > 0 else _CHARGING
            elif power != im.NO_VALUE and soc != im.NO_VALUE:
                charging = _FULL if soc >= par[im.PAR_SOC_MAX] else _EMPTY if soc <= par[im.PAR_SOC_MIN] else _HOLDING
        own[t.O_CHARGE_STATE] = charging
        own[t.O_BATTERY_STATE] = 99 if broken else 3 if connected else 2 if now[im.ORDER] == im.ORDER_START else 1
        own[t.O_HEALTH] = 2 if broken else 1 if now[im.FAULTS] else 0
        own[t.O_DC_STATE] = self.dc_state(now)
        own[t.O_STORAGE] = (1 if now[im.CMD_CONTACTOR] == 1 else 0) | (2 if connected else 0) | (4 if moves else 0)
        own[t.O_DEPTH] = own[t.O_WH_AVAILABLE] = im.NO_VALUE
        if soc != im.NO_VALUE:
            own[t.O_DEPTH] = 10000 - soc
            health = now[im.BMS_SOH] if now[im.BMS_SOH] != im.NO_VALUE else 10000
            own[t.O_WH_AVAILABLE] = par[im.PAR_ENERGY] // 100 * soc // 100 // 100 * health // 100  # every product fits into 30 bits
        own[t.O_AMPERE_HOURS] = par[im.PAR_Q_STEP] // 3600
        ramp = par[im.PAR_RAMP_UP] * 100
        own[t.O_RAMP_CHARGE] = ramp // max(1, par[im.PAR_P_CHG] // 100)
        own[t.O_RAMP_DISCHARGE] = ramp // max(1, par[im.PAR_P_DIS] // 100)

    def _energies(self, now, par, own) -> None:
        """AC energies as three words each, and DC energies by the configured efficiency as two."""
        per_mille = par[im.PAR_EFF]
        for into in (0, 1):
            wh = now[im.E_IN_WH if into else im.E_OUT_WH]
            turns = now[im.E_IN_TURNS if into else im.E_OUT_TURNS] + self.before[2 * into]  # of 30 bits each
            space = _COUNTED - self.before[2 * into + 1]
            if wh > space:
                turns += 1
                wh -= space + 1
            else:
                wh += self.before[2 * into + 1]
            at = t.O_IN_0 if into else t.O_OUT_0
            own[at] = wh & 0xFFFF
            own[at + 1] = wh >> 16 | (turns & 3) << 14
            own[at + 2] = turns >> 2
            if turns:
                wh = _COUNTED  # more than a DC point's two words hold by far
            elif into:
                wh = wh // 1000 * per_mille + wh % 1000 * per_mille // 1000
            else:
                wh = min(_MOST_K, wh // per_mille) * 1000 + wh % per_mille * 1000 // per_mille
            at = t.O_DC_IN_0 if into else t.O_DC_OUT_0
            own[at] = wh & 0xFFFF
            own[at + 1] = wh >> 16
