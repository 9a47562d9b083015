"""What stands in the points of the EMS's chain of SunSpec models, and what writing one means: gen_ems.py makes tables of it."""

from __future__ import annotations

from typing import Any

CHAIN = (1, 103, 120, 121, 122, 123, 124, 160, 701, 702, 703, 704, 705, 706, 711, 712, 713, 714, 715, 802)
COUNTS = {
    (160, "module"): 4, (705, "Crv"): 2, (705, "Pt"): 4, (706, "Crv"): 2, (706, "Pt"): 2, (711, "Ctl"): 2, (712, "Crv"): 2,
    (712, "Pt"): 6, (714, "Prt"): 1,
}  # fmt: skip
MODELS = {
    1: "common", 103: "inverter, three phases", 120: "nameplate", 121: "settings", 122: "status", 123: "immediate controls",
    124: "storage", 160: "DC inputs (1 PV, 3 charging, 4 discharging)", 701: "AC measurement", 702: "capacity",
    703: "enter service", 704: "AC controls", 705: "volt-var", 706: "volt-watt", 711: "frequency droop", 712: "watt-var",
    713: "storage capacity", 714: "DC measurement", 715: "control", 802: "battery",
}  # fmt: skip

# Scale factors whose power of ten follows from the site's size at boot: all of power are one, all of energy another.
POWER_FACTORS = {
    103: ("W_SF", "VAr_SF", "DCW_SF"), 120: ("WRtg_SF", "VARtg_SF", "MaxChaRte_SF", "MaxDisChaRte_SF"), 121: ("WMax_SF",),
    122: ("WAval_SF",), 124: ("WChaMax_SF",), 160: ("DCW_SF",), 701: ("W_SF", "Var_SF"), 702: ("W_SF", "VA_SF"), 714: ("DCW_SF",),
    802: ("WChaDisChaMax_SF", "W_SF"),
}  # fmt: skip
ENERGY_FACTORS = {120: ("WHRtg_SF",), 713: ("WH_SF",), 802: ("WHRtg_SF",)}

# What the service makes itself, once a cycle at most, or when it changes.
OWN = (
    "DC_STATE", "PORT",  # the first two are each bank's, where there are several
    "PORTS", "PORTS_LENGTH", "POWER_FACTOR", "ENERGY_FACTOR", "SET_REM", "LIM_REM",
    "INV_STATE", "ON", "ALARMS", "DER_MODE", "LN_V", "THROTTLED", "THROTTLED_BY", "STATE", "EVENTS",
    "STORAGE", "PV_CONNECTED", "CONTROLS", "WH_AVAILABLE", "HEALTH", "CHARGE_STATE", "BATTERY_STATE", "BATTERY_EVENTS", "DEPTH",
    "LOCAL", "BEAT", "BEAT_LOW", "OUT_0", "OUT_1", "OUT_2", "IN_0", "IN_1", "IN_2", "DC_OUT_0", "DC_OUT_1", "DC_IN_0", "DC_IN_1",
    "LL_V", "HZ", "RAMP_CHARGE", "RAMP_DISCHARGE", "AMPERE_HOURS", "PV_STATE",
)  # fmt: skip
OWN_DECIMALS = {"LN_V": 1, "LL_V": 1, "HZ": 3, "DEPTH": 2, "RAMP_CHARGE": 2, "RAMP_DISCHARGE": 2}
_OUT, _IN = ("OUT_0", "OUT_1", "OUT_2"), ("IN_0", "IN_1", "IN_2")

# point: slot of points.py, or a name of OWN; "-": the other sign, "+": what is above 0 of it.  Positive is discharge.
DYNAMIC: dict[int, dict[str, Any]] = {
    103: {
        "A": "PCS_I", "PPVphAB": "LL_V", "PhVphA": "LN_V", "PhVphB": "LN_V", "PhVphC": "LN_V", "W": "PCS_P", "Hz": "HZ",
        "VAr": "PCS_Q", "WH": ("OUT_0", "OUT_1"), "DCA": "+PCS_DC_I", "DCV": "PCS_DC_V", "DCW": "PCS_DC_P", "TmpCab": "PCS_TEMP",
        "St": "STATE", "Evt1": "EVENTS", "EvtVnd1": "FAULTS",
    },
    120: {"WRtg": "PAR_P_DIS", "VARtg": "PCS_S_MAX", "WHRtg": "PAR_ENERGY", "AhrRtg": "AMPERE_HOURS", "MaxChaRte": "PAR_P_CHG",
          "MaxDisChaRte": "PAR_P_DIS"},
    121: {"WMax": "PAR_P_DIS"},
    122: {"PVConn": "PV_CONNECTED", "StorConn": "STORAGE", "ECPConn": "PCS_GRID", "ActWh": _OUT, "WAval": "LIMIT_DIS",
          "StActCtl": "CONTROLS"},
    124: {"WChaMax": "PAR_P_CHG", "WChaGra": "RAMP_CHARGE", "WDisChaGra": "RAMP_DISCHARGE", "ChaState": "SOC", "InBatV": "BMS_V",
          "ChaSt": "CHARGE_STATE"},
    160: {
        "module.1.DCW": "+PV_P", "module.1.DCSt": "PV_STATE",
        "module.3.DCA": "-+PCS_DC_I", "module.3.DCV": "PCS_DC_V", "module.3.DCW": "-+PCS_DC_P",
        "module.3.DCWH": ("DC_IN_0", "DC_IN_1"),
        "module.3.DCSt": "STATE",
        "module.4.DCA": "+PCS_DC_I", "module.4.DCV": "PCS_DC_V", "module.4.DCW": "+PCS_DC_P",
        "module.4.DCWH": ("DC_OUT_0", "DC_OUT_1"), "module.4.DCSt": "STATE",
    },
    701: {
        "St": "ON", "InvSt": "INV_STATE", "ConnSt": "PCS_GRID", "Alrm": "ALARMS", "DERMode": "DER_MODE", "W": "PCS_P",
        "Var": "PCS_Q", "A": "PCS_I", "LLV": "LL_V", "LNV": "LN_V", "Hz": "HZ", "TotWhInj": _OUT, "TotWhAbs": _IN,
        "TmpCab": "PCS_TEMP", "ThrotPct": "THROTTLED", "ThrotSrc": "THROTTLED_BY",
    },
    702: {"WMaxRtg": "PAR_P_DIS", "VAMaxRtg": "PCS_S_MAX", "WChaRteMaxRtg": "PAR_P_CHG", "WDisChaRteMaxRtg": "PAR_P_DIS",
          "WMax": "PAR_P_DIS", "WChaRteMax": "PAR_P_CHG", "WDisChaRteMax": "PAR_P_DIS"},
    704: {"WMaxLimPctRvrtRem": "LIM_REM", "WSetRvrtRem": "SET_REM"},
    713: {"WHRtg": "PAR_ENERGY", "WHAvail": "WH_AVAILABLE", "SoC": "SOC", "SoH": "BMS_SOH", "Sta": "HEALTH"},
    714: {"L": "PORTS_LENGTH", "NPrt": "PORTS", "Prt.ID": "PORT",
          "DCA": "PCS_DC_I", "DCW": "PCS_DC_P", "Prt.DCA": "PCS_DC_I", "Prt.DCV": "PCS_DC_V", "Prt.DCW": "PCS_DC_P",
          "Prt.Tmp": "BMS_TEMP", "Prt.DCSta": "DC_STATE"},
    715: {"LocRemCtl": "LOCAL", "DERHb": "BEAT"},
    802: {
        "AHRtg": "AMPERE_HOURS", "WHRtg": "PAR_ENERGY", "WChaRteMax": "PAR_P_CHG", "WDisChaRteMax": "PAR_P_DIS",
        "SoCMax": "PAR_SOC_MAX", "SoCMin": "PAR_SOC_MIN", "SoC": "SOC", "DoD": "DEPTH", "SoH": "BMS_SOH", "ChaSt": "CHARGE_STATE",
        "LocRemCtl": "LOCAL", "Hb": "BEAT_LOW", "State": "BATTERY_STATE", "Evt1": "BATTERY_EVENTS", "EvtVnd1": "FAULTS",
        "V": "BMS_V", "VMax": "BMS_V_MAX", "VMin": "BMS_V_MIN", "CellVMax": "CELL_V_MAX", "CellVMin": "CELL_V_MIN", "A": "BMS_I",
        "AChaMax": "BMS_I_CHG", "ADisChaMax": "BMS_I_DIS", "W": "PCS_DC_P",
    },
}  # fmt: skip

_CURVE_HEAD = {"AdptCrvRslt": 1, "NCrv": 2, "RvrtTms": 0, "RvrtRem": 0, "Ena": 0, "AdptCrvReq": 1}
# What stands in a point from the beginning: scale factors, codes that never change, and what the EMS writes before it has.
STATIC: dict[int, dict[str, Any]] = {
    1: {"DA": 1},
    103: {"A_SF": -1, "V_SF": -1, "W_SF": 1, "Hz_SF": -2, "VAr_SF": 1, "WH_SF": 0, "DCA_SF": -1, "DCV_SF": -1, "DCW_SF": 1,
          "Tmp_SF": -1, "Evt2": 0, "EvtVnd2": 0, "EvtVnd3": 0, "EvtVnd4": 0},
    120: {"DERTyp": 82, "WRtg_SF": 1, "VARtg_SF": 1, "WHRtg_SF": 1, "AhrRtg_SF": 0, "MaxChaRte_SF": 1, "MaxDisChaRte_SF": 1},
    121: {"WMax_SF": 1, "VRefOfs": 0, "VRefOfs_SF": 0, "VRef_SF": 0},
    122: {"WAval_SF": 1},
    123: {"Conn_WinTms": 0, "WMaxLimPct_WinTms": 0, "WMaxLimPct_RmpTms": 0, "Conn": 1, "Conn_RvrtTms": 0,
          "WMaxLimPct": 10000, "WMaxLimPct_RvrtTms": 0, "WMaxLim_Ena": 0, "OutPFSet_Ena": 0,
          "VArPct_Ena": 0, "WMaxLimPct_SF": -2, "OutPFSet_SF": -2},
    124: {"InOutWRte_WinTms": 0, "InOutWRte_RmpTms": 0, "StorCtl_Mod": 0,
          "OutWRte": 10000, "InWRte": 10000, "InOutWRte_RvrtTms": 0, "ChaGriSet": 1, "WChaMax_SF": 1,
          "WChaDisChaGra_SF": -2, "ChaState_SF": -2, "InBatV_SF": -1, "InOutWRte_SF": -2},
    160: {"DCA_SF": -1, "DCV_SF": -1, "DCW_SF": 1, "DCWH_SF": 0, "Evt": 0, "N": 4, "module.1.ID": 1, "module.2.ID": 2,
          "module.3.ID": 3, "module.4.ID": 4, "module.1.IDStr": "PV", "module.3.IDStr": "charging", "module.4.IDStr": "discharging",
          "module.3.DCEvt": 0, "module.4.DCEvt": 0},
    701: {"ACType": 2, "A_SF": -1, "V_SF": -1, "Hz_SF": -3, "W_SF": 1, "Var_SF": 1, "TotWh_SF": 0, "Tmp_SF": -1},
    702: {"CtrlModes": 3, "W_SF": 1, "VA_SF": 1},
    703: {"ES": 1, "ESVHi": 1050, "ESVLo": 917, "ESHzHi": 50100, "ESHzLo": 49500, "ESDlyTms": 300, "ESRndTms": 0, "ESRmpTms": 300,
          "ESDlyRemTms": 0, "V_SF": -1, "Hz_SF": -3},
    704: {"PFWInjEna": 0, "PFWAbsEna": 0, "WMaxLimPctEna": 0, "WMaxLimPct": 10000, "WMaxLimPctRvrt": 10000, "WMaxLimPctEnaRvrt": 0,
          "WMaxLimPctRvrtTms": 0, "WSetEna": 0, "WSetMod": 1, "WSet": 0, "WSetRvrt": 0, "WSetPct": 0,
          "WSetPctRvrt": 0, "WSetEnaRvrt": 0, "WSetRvrtTms": 0, "VarSetEna": 0, "WRmp": 0, "WRmpRef": 1,
          "WMaxLimPct_SF": -2, "WSet_SF": 0, "WSetPct_SF": -2},
    705: {**_CURVE_HEAD, "NPt": 4, "RvrtCrv": 1, "V_SF": -1, "DeptRef_SF": -1, "RspTms_SF": -1, "Crv.ActPt": 4, "Crv.DeptRef": 1,
          "Crv.Pri": 1, "Crv.VRef": 1000, "Crv.VRefAutoEna": 0, "Crv.RspTms": 50, "Crv.1.ReadOnly": 1, "Crv.2.ReadOnly": 0,
          "Crv.Pt.1.V": 920, "Crv.Pt.1.Var": 440, "Crv.Pt.2.V": 980, "Crv.Pt.2.Var": 0, "Crv.Pt.3.V": 1020, "Crv.Pt.3.Var": 0,
          "Crv.Pt.4.V": 1080, "Crv.Pt.4.Var": -440},
    706: {**_CURVE_HEAD, "NPt": 2, "RvrtCrv": 1, "V_SF": -1, "DeptRef_SF": -1, "RspTms_SF": -1, "Crv.ActPt": 2, "Crv.DeptRef": 0,
          "Crv.RspTms": 100, "Crv.1.ReadOnly": 1, "Crv.2.ReadOnly": 0, "Crv.Pt.1.V": 1060, "Crv.Pt.1.W": 1000, "Crv.Pt.2.V": 1100,
          "Crv.Pt.2.W": 0},
    711: {"Ena": 0, "AdptCtlReq": 1, "AdptCtlRslt": 1, "NCtl": 2, "RvrtTms": 0, "RvrtRem": 0, "RvrtCtl": 1, "Db_SF": -3, "K_SF": -3,
          "RspTms_SF": -1, "Ctl.DbOf": 36, "Ctl.DbUf": 36, "Ctl.KOf": 50, "Ctl.KUf": 50, "Ctl.RspTms": 50, "Ctl.1.ReadOnly": 1,
          "Ctl.2.ReadOnly": 0},
    712: {**_CURVE_HEAD, "NPt": 6, "RvrtCrv": 1, "W_SF": -1, "DeptRef_SF": -1, "Crv.ActPt": 6, "Crv.DeptRef": 1, "Crv.Pri": 1,
          "Crv.1.ReadOnly": 1, "Crv.2.ReadOnly": 0, "Crv.Pt.1.W": -1000, "Crv.Pt.1.Var": 440, "Crv.Pt.2.W": -500, "Crv.Pt.2.Var": 0,
          "Crv.Pt.3.W": -200, "Crv.Pt.3.Var": 0, "Crv.Pt.4.W": 200, "Crv.Pt.4.Var": 0, "Crv.Pt.5.W": 500, "Crv.Pt.5.Var": 0,
          "Crv.Pt.6.W": 1000, "Crv.Pt.6.Var": -440},
    713: {"WH_SF": 1, "Pct_SF": -2},
    714: {"PrtAlrms": 0, "DCA_SF": -1, "DCV_SF": -1, "DCW_SF": 1, "DCWH_SF": 0, "Tmp_SF": -1, "Prt.PrtTyp": 1,
          "Prt.IDStr": "battery", "Prt.DCAlrm": 0},
    715: {"ControllerHb": 0, "AlarmReset": 0},
    802: {"CtrlHb": 0, "AlmRst": 0, "Typ": 4, "Evt2": 0, "EvtVnd2": 0, "SocRsvMax": 10000, "SoCRsvMin": 0, "SetOp": 1,
          "AHRtg_SF": 0, "WHRtg_SF": 1, "WChaDisChaMax_SF": 1, "SoC_SF": -2, "DoD_SF": -2, "SoH_SF": -2, "V_SF": -1, "CellV_SF": -3,
          "A_SF": -1, "AMax_SF": -1, "W_SF": 1},
}  # fmt: skip

# ---- writing ------------------------------------------------------------------------------------------------------------
CONTROL, SERVICE = 2, 3  # the role that a write takes
ROLE_NAMES = {CONTROL: "control", SERVICE: "service"}
RANGES = ("ANY", "SAME", "OFF", "SWITCH", "ON", "PERCENT", "SIGNED_PERCENT", "WATTS", "SECONDS", "RAMP", "TWO_BITS", "CONNECT",
          "CURVE", "GRID", "PLAIN", "VOLTS", "POINTS_4", "POINTS_2", "POINTS_6", "REFERENCE", "REACTIVE", "SIGNED", "LONG",
          "MODE_2", "DROOP")  # fmt: skip
RANGE_WORDS = {
    "ANY": "anything", "SAME": "as it is", "OFF": "0 only", "SWITCH": "0, 1", "ON": "1 only", "PERCENT": "0 to 100 %",
    "SIGNED_PERCENT": "-100 to 100 %", "WATTS": "the site's charge to its discharge power", "SECONDS": "0 to 1,000,000 s",
    "RAMP": "1 to the configured ramp", "TWO_BITS": "0 to 3", "CONNECT": "1, 2", "CURVE": "1, 2",
    "GRID": "0, and 1 where charging from the grid is allowed", "PLAIN": "0 to 65534", "VOLTS": "0 to 300 %", "POINTS_4": "1 to 4",
    "POINTS_2": "1, 2", "POINTS_6": "1 to 6", "REFERENCE": "0 to 3", "REACTIVE": "-100 to 100 %", "SIGNED": "-32767 to 32767",
    "LONG": "0 to 1,000,000", "MODE_2": "0, 1", "DROOP": "1 to 65534",
}  # fmt: skip
GROUPS = ("STORED", "WSET", "WLIMIT", "OLD_LIMIT", "STORAGE", "RESERVE", "CONN", "SET_OP", "ENTER", "OP_CTL", "RESET",
          "RESET_BATTERY", "RAMP", "BEAT", "VOLT_VAR", "VOLT_WATT", "DROOP", "WATT_VAR")  # fmt: skip
READ_ONLY = {(1, "DA"), (124, "WChaMax"), (124, "WChaGra"), (124, "WDisChaGra")}
IN_FORCE = ("Crv.1.", "Ctl.1.")  # curve 1 is the one in force: only adopting another changes it


def _curve(group: str, points: str, **more: tuple[str, str, int]) -> dict[str, tuple[str, str, int]]:
    return {
        "Ena": ("OFF", "STORED", CONTROL), "AdptCrvReq": ("CURVE", group, CONTROL), "RvrtTms": ("SECONDS", "STORED", CONTROL),
        "RvrtCrv": ("CURVE", "STORED", CONTROL), "Crv.ActPt": (points, "STORED", CONTROL),
        "Crv.DeptRef": ("REFERENCE", "STORED", CONTROL), **more,
    }  # fmt: skip


_STORED = {"Crv.RspTms": ("LONG", "STORED", CONTROL)}
WRITABLE: dict[int, dict[str, tuple[str, str, int]]] = {
    123: {
        "Conn_WinTms": ("OFF", "STORED", CONTROL), "WMaxLimPct_WinTms": ("OFF", "STORED", CONTROL),
        "WMaxLimPct_RmpTms": ("OFF", "STORED", CONTROL),
        "Conn_RvrtTms": ("PLAIN", "CONN", CONTROL), "Conn": ("SWITCH", "CONN", CONTROL),
        "WMaxLimPct": ("PERCENT", "OLD_LIMIT", CONTROL), "WMaxLimPct_RvrtTms": ("PLAIN", "OLD_LIMIT", CONTROL),
        "WMaxLim_Ena": ("SWITCH", "OLD_LIMIT", CONTROL), "OutPFSet_Ena": ("OFF", "STORED", CONTROL),
        "VArPct_Ena": ("OFF", "STORED", CONTROL),
    },
    124: {
        "InOutWRte_WinTms": ("OFF", "STORED", CONTROL),
        "InOutWRte_RmpTms": ("OFF", "STORED", CONTROL),
        "StorCtl_Mod": ("TWO_BITS", "STORAGE", CONTROL), "OutWRte": ("SIGNED_PERCENT", "STORAGE", CONTROL),
        "InWRte": ("SIGNED_PERCENT", "STORAGE", CONTROL), "InOutWRte_RvrtTms": ("PLAIN", "STORAGE", CONTROL),
        "ChaGriSet": ("GRID", "STORAGE", CONTROL),
    },
    703: {
        "ES": ("SWITCH", "ENTER", CONTROL), "ESVHi": ("VOLTS", "STORED", CONTROL), "ESVLo": ("VOLTS", "STORED", CONTROL),
        "ESHzHi": ("LONG", "STORED", CONTROL), "ESHzLo": ("LONG", "STORED", CONTROL), "ESDlyTms": ("SECONDS", "STORED", CONTROL),
        "ESRndTms": ("SECONDS", "STORED", CONTROL), "ESRmpTms": ("SECONDS", "STORED", CONTROL),
    },
    704: {
        "PFWInjEna": ("OFF", "STORED", CONTROL), "PFWAbsEna": ("OFF", "STORED", CONTROL), "VarSetEna": ("OFF", "STORED", CONTROL),
        "WMaxLimPctEna": ("SWITCH", "WLIMIT", CONTROL), "WMaxLimPct": ("PERCENT", "WLIMIT", CONTROL),
        "WMaxLimPctRvrt": ("PERCENT", "WLIMIT", CONTROL), "WMaxLimPctEnaRvrt": ("SWITCH", "WLIMIT", CONTROL),
        "WMaxLimPctRvrtTms": ("SECONDS", "WLIMIT", CONTROL), "WSetEna": ("SWITCH", "WSET", CONTROL),
        "WSetMod": ("SWITCH", "WSET", CONTROL), "WSet": ("WATTS", "WSET", CONTROL), "WSetRvrt": ("WATTS", "WSET", CONTROL),
        "WSetPct": ("SIGNED_PERCENT", "WSET", CONTROL), "WSetPctRvrt": ("SIGNED_PERCENT", "WSET", CONTROL),
        "WSetEnaRvrt": ("SWITCH", "WSET", CONTROL), "WSetRvrtTms": ("SECONDS", "WSET", CONTROL), "WRmp": ("RAMP", "RAMP", CONTROL),
        "WRmpRef": ("ON", "STORED", CONTROL),
    },
    705: _curve("VOLT_VAR", "POINTS_4", **_STORED, **{
        "Crv.Pri": ("MODE_2", "STORED", CONTROL), "Crv.VRef": ("VOLTS", "STORED", CONTROL),
        "Crv.VRefAutoEna": ("OFF", "STORED", CONTROL),
        "Crv.Pt.V": ("VOLTS", "STORED", CONTROL), "Crv.Pt.Var": ("REACTIVE", "STORED", CONTROL)}),
    706: _curve("VOLT_WATT", "POINTS_2", **_STORED, **{
        "Crv.DeptRef": ("MODE_2", "STORED", CONTROL), "Crv.Pt.V": ("VOLTS", "STORED", CONTROL),
        "Crv.Pt.W": ("REACTIVE", "STORED", CONTROL)}),
    711: {
        "Ena": ("OFF", "STORED", CONTROL), "AdptCtlReq": ("CURVE", "DROOP", CONTROL), "RvrtTms": ("SECONDS", "STORED", CONTROL),
        "RvrtCtl": ("CURVE", "STORED", CONTROL), "Ctl.DbOf": ("LONG", "STORED", CONTROL), "Ctl.DbUf": ("LONG", "STORED", CONTROL),
        "Ctl.KOf": ("DROOP", "STORED", CONTROL), "Ctl.KUf": ("DROOP", "STORED", CONTROL), "Ctl.RspTms": ("LONG", "STORED", CONTROL),
    },
    712: _curve("WATT_VAR", "POINTS_6", **{
        "Crv.Pri": ("MODE_2", "STORED", CONTROL), "Crv.Pt.W": ("REACTIVE", "STORED", CONTROL),
        "Crv.Pt.Var": ("REACTIVE", "STORED", CONTROL)}),
    715: {"ControllerHb": ("ANY", "BEAT", SERVICE), "AlarmReset": ("SWITCH", "RESET", SERVICE),
          "OpCtl": ("TWO_BITS", "OP_CTL", SERVICE)},
    802: {
        "SocRsvMax": ("PERCENT", "RESERVE", CONTROL), "SoCRsvMin": ("PERCENT", "RESERVE", CONTROL),
        "CtrlHb": ("ANY", "BEAT", SERVICE),
        "AlmRst": ("SWITCH", "RESET_BATTERY", SERVICE), "SetOp": ("CONNECT", "SET_OP", SERVICE),
    },
}  # fmt: skip

# Points whose place the firmware knows by name: where they are kept.
NAMED = {
    "MN": "1.Mn", "MD": "1.Md", "VR": "1.Vr", "SN": "1.SN", "DA": "1.DA",
    "CONN": "123.Conn", "CONN_TMS": "123.Conn_RvrtTms", "OLD_PCT": "123.WMaxLimPct", "OLD_TMS": "123.WMaxLimPct_RvrtTms",
    "OLD_ENA": "123.WMaxLim_Ena", "STOR_MOD": "124.StorCtl_Mod", "OUT_RATE": "124.OutWRte", "IN_RATE": "124.InWRte",
    "RATE_TMS": "124.InOutWRte_RvrtTms", "FROM_GRID": "124.ChaGriSet", "ES": "703.ES", "LIM_ENA": "704.WMaxLimPctEna",
    "LIM_PCT": "704.WMaxLimPct", "LIM_RVRT": "704.WMaxLimPctRvrt", "LIM_ENA_RVRT": "704.WMaxLimPctEnaRvrt",
    "LIM_TMS": "704.WMaxLimPctRvrtTms", "SET_ENA": "704.WSetEna", "SET_MOD": "704.WSetMod",
    "SET_W": "704.WSet", "SET_RVRT": "704.WSetRvrt", "SET_PCT": "704.WSetPct", "SET_PCT_RVRT": "704.WSetPctRvrt",
    "SET_ENA_RVRT": "704.WSetEnaRvrt", "SET_TMS": "704.WSetRvrtTms", "RAMP": "704.WRmp",
    "VV_REQ": "705.AdptCrvReq", "VV_1": "705.Crv.1.ActPt", "VV_2": "705.Crv.2.ActPt",
    "VW_REQ": "706.AdptCrvReq", "VW_1": "706.Crv.1.ActPt", "VW_2": "706.Crv.2.ActPt",
    "DROOP_REQ": "711.AdptCtlReq", "DROOP_1": "711.Ctl.1.DbOf", "DROOP_2": "711.Ctl.2.DbOf",
    "WV_REQ": "712.AdptCrvReq", "WV_1": "712.Crv.1.ActPt", "WV_2": "712.Crv.2.ActPt",
    "ALARM_RESET": "715.AlarmReset", "OP_CTL": "715.OpCtl", "RSV_MAX": "802.SocRsvMax", "RSV_MIN": "802.SoCRsvMin",
    "ALM_RST": "802.AlmRst", "SET_OP": "802.SetOp",
}  # fmt: skip

# ---- alarms: fault of faults.TABLE: bit of 701 Alrm, bit of 802 Evt1 (31: none); both have FAULTS itself in EvtVnd1
FAULT_BITS = {
    "bms_lost": (16, 0), "pcs_lost": (16, 31), "meter_lost": (31, 31), "pv_lost": (31, 31), "io_lost": (16, 31),
    "emergency_stop": (6, 31), "bms_protection": (16, 25), "bms_alarm": (31, 26), "cell_over_voltage": (1, 9),
    "cell_under_voltage": (16, 11), "over_temperature": (7, 1), "under_temperature": (13, 4), "soc_jump": (31, 26),
    "soc_disagrees": (31, 26), "pcs_fault": (16, 31), "pcs_not_following": (16, 31), "overpower": (16, 31), "bms_frozen": (16, 0),
    "pcs_frozen": (16, 31), "current_mismatch": (16, 25), "contactor": (3, 20), "bms_no_charge": (31, 26),
    "bms_no_discharge": (31, 26), "bms_value": (31, 26), "two_batteries": (16, 28), "breach": (16, 31), "inverter_silent": (31, 31),
    "meter_frozen": (31, 31),
}  # fmt: skip
PROTECTION_BITS = (  # in the order of image.BMS_PROT_*
    (9, 10), (11, 12), (1, 2), (3, 4), (7, 8), (5, 6), (25, 26), (1, 2), (1, 2), (3, 4), (3, 4), (7, 8), (20, 26), (22, 26),
    (17, 17), (26, 26), (25, 26), (25, 26), (25, 26), (25, 26),
)  # fmt: skip

# ---- for people: where the model's own words do not say what it is here
_GIVEN = "AC energy out of the battery, over its life where the site keeps records, else since boot"
MEANINGS: dict[int, dict[str, str]] = {
    1: {"Md": "the site's name", "DA": "unit that answers"},
    103: {"W": "AC power, + discharge", "WH": _GIVEN,
          "EvtVnd1": "the fault table's rows, as bits", "DCA": "DC current of a discharge",
          "St": "THROTTLED while a limit keeps the request from being met",
          "PhVphA": "of the line voltage, as if the phases were alike"},
    120: {"WRtg": "configured discharge power"},
    121: {"WMax": "configured discharge power"},
    122: {"WAval": "what may be discharged now, inside every limit", "ActWh": _GIVEN,
          "StActCtl": "bit 0: a setpoint of the EMS is in force"},
    123: {
        "Conn": "0: power to 0 W and the contactors open; 1: back again; Conn_RvrtTms brings it back by itself",
        "WMaxLimPct": "limit of the discharge, % of WMax, while WMaxLim_Ena is 1",
        "WMaxLimPct_RvrtTms": "s after which the limit ends; 0: while its client goes on asking",
    },
    124: {
        "WChaMax": "configured charge power", "StorCtl_Mod": "bit 0: InWRte is in force, bit 1: OutWRte is",
        "OutWRte": "most of the discharge, % of the discharge power; below 0: charge with that much of WChaMax",
        "InWRte": "most of the charge, % of WChaMax; below 0: discharge with that much of the discharge power",
        "InOutWRte_RvrtTms": "s after which StorCtl_Mod is 0 again; 0: while its client goes on asking",
        "ChaGriSet": "0: only surplus charges, as long as this is in force",
        "ChaState": "state of charge",
    },
    160: {"module.DCWH": "AC energy of the battery's life, or since boot, by the configured efficiency"},
    701: {"W": "AC power, + discharge", "TotWhInj": _GIVEN,
          "TotWhAbs": "AC energy into the battery, as that",
          "ThrotPct": "by how much the binding limit is below the request, % of the rating",
          "ThrotSrc": "MAX_W: limits of owners, configuration, export, operation; DERATED: battery, inverter, grid, fault"},
    703: {"ES": "0: 0 W at once; the other points are stored, and act with the grid services"},
    704: {
        "WMaxLimPctEna": "the limit of the discharge is in force", "WMaxLimPct": "% of WMax",
        "WSetEna": "the setpoint is in force", "WSetMod": "1: WSet, 0: WSetPct of WMax",
        "WSet": "+ discharge, - charge", "WSetRvrt": "in force when WSetRvrtTms has run out, if WSetEnaRvrt is 1",
        "WSetRvrtTms": "s; 0: the setpoint holds while its client goes on asking", "WRmp": "power rises this fast",
    },
    711: {"Ena": "refused until the grid services exist"},
    715: {"LocRemCtl": "1: local, commands are refused with 01", "DERHb": "one more every second",
          "AlarmReset": "1: lets go an EMERGENCY whose cause is gone (no commanded one), restarts that are used up; "
          "reads 0 again 1 s later",
          "OpCtl": "0 STOP: 0 W and contactors open; 1 START; 2 ENTER_STANDBY: 0 W; 3 EXIT_STANDBY"},
    802: {
        "SocRsvMax": "ceiling: nothing charges above it", "SoCRsvMin": "above SoC: charges to it; at SoC: no discharge below it",
        "AlmRst": "as 715 AlarmReset", "SetOp": "2: 0 W and the contactors open, 1: back",
        "EvtVnd1": "the fault table's rows, as bits",
        "W": "DC power, + discharge", "A": "+ discharge",
    },
}  # fmt: skip

HEAD = """# The registers of the EMS

Generated by `.venv/bin/python -m tools.generate.gen_ems`; do not edit.  The service `sunspec_server` serves one chain
of SunSpec models from register 40000 on, functions 3, 6 and 16 (22 and 23 too), over Modbus
TCP, TLS and RTU.  Positive power is discharge.

```json
"services": {"ems": {"type": "sunspec_server", "port": 502, "allow": {"192.168.1.10": "control"}}}
```

`docs/access.md` has who may read and command; `port`, `unit` (1; `also_126`), `clients` (4), `silence_s`, `serial`, and `uart` with
`baudrate`, `parity`, `tx_pin`, `rx_pin`, `de_pin` for a line of its own are this service's.  Try it: `make run ARGS="--ems 15020"`.

- **Rights**: what an access rule calls read, control or service.  Every other point is read only and refuses with exception 01.
- **Exceptions**: 01 not allowed (read only, role, local), 02 no such register, 03 out of range or not offered, 06 another
  client is in control, or EMERGENCY stands.  A write that is refused changes nothing; what stands in a register may be written.
- **Timing**: a write can be read back at once, and takes effect on the control cycle: within two cycles at the inverter.  What
  several writes in a row mean is looked at when they pause for two fifths of a cycle.
- **Lifetimes**: with a reversion time the command ends, or reverts, when that has run out, and with 0 when the client that gave
  it asks for nothing for `silence_s` (60 s), whatever others command meanwhile: 704 WSet, 704 and 123 WMaxLimPct, 124, the
  reserves of 802 each have their own client and time.  Then what has the next priority decides.
  A client that connects anew, from the same address or with the same certificate's role, keeps what it had commanded; another
  connection of that address, which was there beside it, does so by a write or a heartbeat, not by reading.  A reversion value
  that is in force stays so until the next command, whoever gives it and whatever point it is about; reading and heartbeats are
  none.  703 ES, 123 Conn without a time, 802 SetOp and 715 OpCtl are orders: they stand until the opposite is given, and read
  what is in force, whoever gave it.  703 ES 0, OpCtl 2 and 123 Conn 0 outlive a reset of the
  board, but for Conn's time; limits, setpoints and 704 WRmp do not.
- **EMERGENCY, MAINTENANCE and a person** (`local(True)` at the console) end everything that was commanded; nothing of it
  comes back.  703 ES and 704 WRmp outlive an emergency, and end when a person or another interface takes the control; 123 Conn 0
  outlives another interface's, and ends by its own time or by who connects.
- **Half of WSet or WSetRvrt** is refused with 03: another power than anybody meant.  Of times one register may be written.
- **Several banks**: 714 has a port for each, in the site file's order; 715 and 802 lie 25 registers further for each bank more.
- **One claim, one limit**: of several setpoints in force 704 WSet goes first, then a rate below 0 of 124, then the reserve of 802;
  limits all hold.  Each has the owner "ems" and the address of the client that gave it, of several limits the one that leaves
  the least of the discharge, and people read it as the reason.
- **Of a silent device nothing is told**: what is older than control believes it is "not implemented" (0x8000, 0xFFFF), powers,
  currents, voltages and the states 701 St, InvSt, ConnSt and 103 St alike; energies stand still.  Ratings and the state of
  charge stay.
- Powers and energies have the scale factor that the site's size needs: 100 kW are 10 W a count, 200 kWh 10 Wh.
"""
