"""Emulators of CAN controllers at the level their drivers see, on a wire with arbitration, errors and bus-off."""
