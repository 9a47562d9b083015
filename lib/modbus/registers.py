"""Registers made on demand, by tables of bytes: what a device serves of which hardly anything need be kept.

A window is `count` registers from `start` on; it is written into an array of words from `at` on.  Three kinds of tables:

runs: what stands there at first.  For each 128 registers where their runs begin, two bytes, high one first, then the runs.  A
byte n: below 128 so many words follow; above it one follows that stands n - 128 times.
kept: which registers are kept in an array, three bytes a row: register (high, low), how many; in it they stand row behind row.
fill: what is made of numbers in arrays of int32, five bytes a row: register (high, low), index into a source, kind, divisor.
The kind's low three bits say what the number becomes: 0 int16, 1 uint16, 2 int32, 3 uint32, 4 one register as it is; 16: the
other sign, 32: what is above 0 of it; 64: of the second source, 128: of the third.  A number that is none (-2**30) becomes the
type's "not implemented", and what is beyond a type's range stops at its end: no register wraps, and none says "not implemented"
by accident.

Viper in the subset that is also plain Python, as hot.py.
"""

import micropython


@micropython.viper
def expand(runs: ptr8, start: int, count: int, words: ptr16, at: int):
    """What stands in a window at first."""
    i = 2 * (start >> 7)
    i = (runs[i] << 8) | runs[i + 1]
    where = (start >> 7) << 7
    end = start + count
    to = at - start
    while where < end:
        n = runs[i]
        i += 1
        step = 2
        behind = i + 2
        if n > 127:
            n -= 128
            step = 0
        else:
            behind = i + 2 * n
        last = where + n
        if last > start:
            if where < start:
                i += step * (start - where)
                where = start
            if last > end:
                last = end
            while where < last:
                words[to + where] = (runs[i] << 8) | runs[i + 1]
                i += step
                where += 1
        where = last
        i = behind


@micropython.viper
def overlay(kept: ptr8, rows: int, registers: ptr16, start: int, count: int, words: ptr16, at: int):
    """What is kept of a window."""
    i = 0
    index = 0
    end = start + count
    to = at - start
    while i < 3 * rows:
        where = (kept[i] << 8) | kept[i + 1]
        n = kept[i + 2]
        if where >= end:
            return
        if where + n > start:
            index -= where
            last = where + n
            if last > end:
                last = end
            if where < start:
                where = start
            while where < last:
                words[to + where] = registers[index + where]
                where += 1
            index += (kept[i] << 8) | kept[i + 1]
        index += n
        i += 3


@micropython.viper
def index_of(kept: ptr8, rows: int, register: int) -> int:
    """Where a register is kept; -1: it is not."""
    i = 0
    index = 0
    while i < 3 * rows:
        where = (kept[i] << 8) | kept[i + 1]
        if register < where:
            return -1
        if register < where + kept[i + 2]:
            return index + register - where
        index += kept[i + 2]
        i += 3
    return -1


@micropython.viper
def fill(
    rows: ptr8, size: int, first: ptr32, second: ptr32, third: ptr32, divisors: ptr32, start: int, count: int, words: ptr16, at: int
):
    """Write what `size` rows, in order of their registers, say of a window; divisors by the row's number, halves are rounded
    away from zero."""
    one = 1
    b = one << 30
    m = b + b - 1
    none = 0 - b
    end = start + count
    to = at - start
    low = 0
    high = size
    while low < high:  # the first row behind the window's first register
        middle = (low + high) >> 1
        at = 5 * middle
        if ((rows[at] << 8) | rows[at + 1]) < start:
            low = middle + 1
        else:
            high = middle
    at = 5 * low
    if low > 0:  # the one before may end in it
        at -= 5
    last = 5 * size
    while at < last:
        where = (rows[at] << 8) | rows[at + 1]
        kind = rows[at + 3]
        if where >= end:
            return
        if where + ((kind >> 1) & 1) < start:
            at += 5
            continue
        v = rows[at + 2]
        if (kind & 64) != 0:
            v = second[v]
        elif (kind & 128) != 0:
            v = third[v]
        else:
            v = first[v]
        v = ((v + b) & m) - b
        what = kind & 7
        high = 0
        low = 0
        if v == none:
            high = 0xFFFF
            low = 0xFFFF
            if what == 0:
                low = 0x8000
            elif what == 2:
                high = 0x8000
                low = 0
        else:
            if (kind & 16) != 0:
                v = 0 - v
            if v < 0 and ((kind & 32) != 0 or what == 1 or what == 3):
                v = 0
            d = divisors[rows[at + 4]]
            if d > 1:
                if v < 0:
                    v = 0 - ((d >> 1) - v) // d
                else:
                    v = ((d >> 1) + v) // d
            if what == 0:
                if v > 0x7FFF:
                    v = 0x7FFF
                elif v < 0 - 0x7FFF:
                    v = 0 - 0x7FFF
            elif what == 1 and v > 0xFFFE:
                v = 0xFFFE
            high = (v >> 16) & 0xFFFF
            low = v & 0xFFFF
        if what == 2 or what == 3:
            if where >= start:
                words[to + where] = high
            where += 1
        if where < end:
            words[to + where] = low
        at += 5


@micropython.viper
def row_of(rows: ptr8, count: int, register: int) -> int:
    """The row whose registers include this one, -1 for none.  Six bytes a row, in order: register (two), how many in six bits."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) >> 1
        at = 6 * middle
        if ((rows[at] << 8) | rows[at + 1]) <= register:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return -1
    at = 6 * (low - 1)
    if register < ((rows[at] << 8) | rows[at + 1]) + (rows[at + 2] & 63):
        return low - 1
    return -1
