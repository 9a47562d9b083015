"""Checks rows of a generic_modbus table that go in one request.  Loaded only for a table that has such."""

from micropython import const

from firmware.devices.generic_table import Conditions, check_keys
from firmware.devices.generic_writes import Write, check_write

_LONGEST = const(123)  # registers in one write


def check_together(where: str, row: dict, site: Conditions, errors: list) -> list:
    """They must lie side by side, in one unit.  The request they make, [] with what is wrong in `errors` if it is none."""
    before = len(errors)
    check_keys(where, row, ("together",), errors)
    rows = row["together"]
    if not isinstance(rows, list) or not rows:
        errors.append("%s.together = %r: must be a list of rows" % (where, rows))
        return []
    for number, each in enumerate(rows):
        check_write("%s.together[%d]" % (where, number), each, site, errors)
        if isinstance(each, dict) and each.get("function", 16) != 16:
            errors.append("%s.together[%d].function = %r: must be 16" % (where, number, each["function"]))
    if len(errors) > before:
        return []
    write = Write(row)
    if write.size > _LONGEST:
        errors.append("%s.together: takes %d registers, one request holds %d" % (where, write.size, _LONGEST))
    address = write.address
    for number, each in enumerate(rows):
        if each["address"] != address or each.get("unit", site.unit) != rows[0].get("unit", site.unit):
            text = "%s.together[%d]: must follow the row before at address %d, in the same unit"
            errors.append(text % (where, number, address))
            return []
        address += write.values[number].size
    return [write]
