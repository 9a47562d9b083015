"""Files of the tree that are made from others: DBC files, SunSpec tables, the time zones."""
