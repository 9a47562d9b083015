"""What a site remembers of its powers and energies: loaded only where the site names the service `history`."""
