"""Brokers and a real Home Assistant to try MQTT with; nothing of it is needed to use the firmware."""
