"""The simulated site: battery, PCS, meter, grid, load and PV, spoken to over real protocols on loopback."""
