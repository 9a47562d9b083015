"""Devices: one file per kind of box outside; each translates between a protocol and the process image."""
