"""Joins the site's Wi-Fi as a station; the chip keeps the connection from then on."""

import network


def connect(options: dict) -> None:
    """Start joining; control does not wait for it."""
    network.country(options["country"])
    station = network.WLAN(network.STA_IF)
    station.active(True)
    if not station.isconnected():
        station.connect(options["ssid"], options["password"])
