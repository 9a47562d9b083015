"""Which build this firmware/ is of: the staging writes its stamp here.  main.py compares it with that of lib/."""

STAMP = "sources"
