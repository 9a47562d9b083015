"""Joins the site's Wi-Fi as a station; the chip keeps the connection from then on."""

import network


def connect(options: dict):
    """Start joining; control does not wait for it.  Returns the interface, whose isconnected() tells."""
    network.country(options["country"])
    station = network.WLAN(network.STA_IF)
    station.active(True)
    if not station.isconnected():
        station.connect(options["ssid"], options["password"])
    return station
