"""What a site says and is told over MQTT: loaded only where it names a service for it."""
