"""What faces the energy management system: loaded only where the site names a service for it."""
