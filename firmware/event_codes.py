"""The events' codes and names.  Code that uses a code gets the number from the build; names are for people only."""

from firmware.names import Names


class Event(Names):
    """The events; `event_data` is in the comment."""

    ALL = -1
    MODE_CHANGE = 0  # the new Mode
    FLOW_CHANGE = 1  # the new Flow
    CHARGE_COMPLETE = 2  # the source of the claim that is done, requests.SOURCES
    DISCHARGE_COMPLETE = 3  # the same
    GRID_CONNECTED = 4  # 0
    GRID_DISCONNECTED = 5  # 0
    SCHEDULE_STARTED = 6  # entry id
    SCHEDULE_ENDED = 7  # entry id
    OVERPOWER = 8  # measured W beyond the live limit
    EMERGENCY = 9  # the fault behind it, faults.TABLE; -1 commanded
    LIMIT_CHANGE = 10  # the reason that binds now, limits.NAMES; + 32 for charge
    FAULT_RAISED = 11  # row of faults.TABLE
    FAULT_CLEARED = 12  # row of faults.TABLE
    COMMS_LOST = 13  # row of faults.TABLE
    COMMS_RESTORED = 14  # row of faults.TABLE
    OPERATION_TIMEOUT = 15  # the source of the claim that ran out
    CONFIG_CHANGED = 16  # 0
    CLOCK_SET = 17  # seconds it was moved by, bounded
    SCHEDULE_MISSED = 18  # entry id whose whole window the clock skipped; -1: there is a schedule and no clock
    BANK_CHANGE = 19  # of several banks: the new Mode of one, + 32 x its number, from 1, as a bank's faults have
    names = (
        "MODE_CHANGE",
        "FLOW_CHANGE",
        "CHARGE_COMPLETE",
        "DISCHARGE_COMPLETE",
        "GRID_CONNECTED",
        "GRID_DISCONNECTED",
        "SCHEDULE_STARTED",
        "SCHEDULE_ENDED",
        "OVERPOWER",
        "EMERGENCY",
        "LIMIT_CHANGE",
        "FAULT_RAISED",
        "FAULT_CLEARED",
        "COMMS_LOST",
        "COMMS_RESTORED",
        "OPERATION_TIMEOUT",
        "CONFIG_CHANGED",
        "CLOCK_SET",
        "SCHEDULE_MISSED",
        "BANK_CHANGE",
    )
