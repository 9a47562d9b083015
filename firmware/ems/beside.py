"""What the EMS's server is refused for beside the rest of a site.  Needed while a site is checked only."""


def check(where: str, options: dict, found) -> None:
    """Add to found.errors (sitefile.Checked) where its UART or its port is another's."""
    uart = options.get("uart", -1)
    for name in sorted(found.buses):
        bus = found.buses[name]
        if bus.get("type") == "modbus_rtu" and uart >= 0 and bus.get("id", 1) == uart:
            free = ", ".join([str(number) for number in (1, 2) if not _is_taken(found, number)]) or "none"
            form = "%s.uart = %d: buses.%s has this UART, and a line of the EMS needs one of its own; free of 1 and 2: %s"
            found.errors.append(form % (where, uart, name, free))
    ports = [key for key in ("port", "tls_port") if options.get(key)]
    if len(ports) == 2 and options["port"] == options["tls_port"]:
        found.errors.append("%s.tls_port = %d: is its port too; each needs one of its own" % (where, options["port"]))


def _is_taken(found, number: int) -> bool:
    for bus in found.buses.values():
        if bus.get("type") == "modbus_rtu" and bus.get("id", 1) == number:
            return True
    return False
