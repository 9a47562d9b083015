"""Joins the site's Wi-Fi as a station; the chip keeps the connection from then on."""

import network


def connect(options: dict) -> None:
    """Start joining; control does not wait for it."""
    network.country(options["country"])
    station = network.WLAN(network.STA_IF)
    station.active(True)
    if not station.isconnected():
        station.connect(options["ssid"], options["password"])


def name_server() -> str:
    """The address of the network's name server, "" while there is no network."""
    station = network.WLAN(network.STA_IF)
    return station.ifconfig()[3] if station.isconnected() else ""
