"""The controllers that can be behind the interface of machine.CAN, by name."""

BACKENDS = ("machine", "twai", "mcp2515")


def kind_of(backend):
    """The class of a back end.  Raises ValueError for an unknown one, or where this firmware has no machine.CAN."""
    if backend == "machine":
        import machine

        if not hasattr(machine, "CAN"):
            raise ValueError("backend 'machine': this firmware has no machine.CAN; use 'twai' or 'mcp2515'")
        return machine.CAN
    if backend == "twai":
        from canbus.twai import TWAI

        return TWAI
    if backend == "mcp2515":
        from canbus.mcp2515 import MCP2515

        return MCP2515
    raise ValueError("backend %r: not one of %s" % (backend, ", ".join(BACKENDS)))
