"""The manager and the simulated plant in one process and in virtual time: seeded chaos, with invariants in every cycle."""
