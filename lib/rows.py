"""Tables of rows, read from flash where the build has put them there, so that no table fills a board's heap."""

import json

_HOME = __file__[: __file__.rfind("/") + 1] + "tables/"  # where the build puts them


def each(table):
    """The rows one by one: of a table, of a tuple of tables, or of the file that cross-compiling has made of a table."""
    if isinstance(table, str):
        with open(_HOME + table) as file:
            for line in file:
                yield json.loads(line)
    elif table and isinstance(table[0][0], str) and not isinstance(table[0], str):
        for row in table:
            yield row
    else:
        for part in table:
            for row in each(part):
                yield row
