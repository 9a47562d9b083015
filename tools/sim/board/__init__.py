"""The simulated board: a MicroPython interpreter with the ESP32's hardware around it."""
