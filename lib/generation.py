"""Which build this lib/ is of: the staging writes its stamp here.  main.py compares it with that of firmware/."""

STAMP = "sources"
