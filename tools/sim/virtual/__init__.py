"""The simulated site in virtual time, in the firmware's own process."""
