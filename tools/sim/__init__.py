"""The simulated site: batteries, inverters, meter, grid, load and PV, over real protocols on loopback or in virtual time."""
