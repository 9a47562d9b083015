"""Real Chromium at the operator's page: `make page`."""
