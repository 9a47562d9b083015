"""Calls one function of a module with inputs from a file and writes what it did: run under MicroPython.

    micropython hot_calls.py ROOT MODULE FUNCTION IN OUT SPEC...

IN: int32 records.  SPEC, one an argument: the length of an array, 0 for an int, 3x231: a list of 3 arrays, or 81H: an array
of 16 bits, in the records of 32.  OUT: after each call the arrays as they are then, and the result (0 for None).
"""

import sys
from array import array

root, name, function, source, target = sys.argv[1:6]
sys.path[:] = [root, root + "/lib", ".frozen"]
module = __import__(name)
for part in name.split(".")[1:]:
    module = getattr(module, part)
call = getattr(module, function)

arguments: list = []
arrays: list = []  # in the order of the records
narrow: list = []  # (record, array of 16 bits that it stands for)
kept: list = []  # of those, what OUT has: all but the ints
for spec in sys.argv[6:]:
    many, _, length = spec.rstrip("H").rpartition("x")
    made = [array("i", [0] * (int(length) or 1)) for _ in range(int(many or "1"))]
    arrays += made
    kept += made if int(length) else []
    if spec[-1] == "H":
        narrow.append((made[0], array("H", made[0])))
        made = [narrow[-1][1]]
    arguments.append(made if many else made[0])
ints = [spec == "0" for spec in sys.argv[6:]]
result = array("i", [0])
calls = 0
with open(source, "rb") as read, open(target, "wb") as write:
    while read.readinto(arrays[0]):
        for more in arrays[1:]:
            read.readinto(more)
        for record, words in narrow:
            for i in range(len(words)):
                words[i] = record[i]
        answer = call(*[a[0] if is_int else a for a, is_int in zip(arguments, ints)])
        for record, words in narrow:
            for i in range(len(words)):
                record[i] = words[i]
        for each in kept:
            write.write(each)
        result[0] = answer or 0
        write.write(result)
        calls += 1
print(calls)
