"""Load the site, build it, run the loop.  From here to "how many watts": app.py, manager.py, hot.py."""

from firmware.app import App

App("site.json").run()
