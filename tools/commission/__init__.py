"""Commissioning: walks the checklist on the live system through the board's console, and writes a report that can be checked."""
