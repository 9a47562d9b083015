"""Services: what faces people and other systems; each talks to PowerManager's API only."""
