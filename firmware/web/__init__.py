"""What the web server (firmware/services/web.py) is made of: loaded only where a site names it."""
