"""Calls one function of a module with inputs from a file and writes what it did: run under MicroPython.

    micropython hot_calls.py ROOT MODULE FUNCTION IN OUT SPEC...

IN: int32 records.  SPEC, one an argument: the length of an array, or 0 for an int.  OUT: after each call the arrays as
they are then, and the result (0 for None).
"""

import sys
from array import array

root, name, function, source, target = sys.argv[1:6]
sys.path[:] = [root, root + "/lib", ".frozen"]
lengths = [int(text) for text in sys.argv[6:]]

module = __import__(name)
for part in name.split(".")[1:]:
    module = getattr(module, part)
call = getattr(module, function)

arguments = [array("i", [0] * (length or 1)) for length in lengths]
result = array("i", [0])
calls = 0
with open(source, "rb") as read, open(target, "wb") as write:
    while read.readinto(arguments[0]):
        for more in arguments[1:]:
            read.readinto(more)
        answer = call(*[a if n else a[0] for a, n in zip(arguments, lengths)])
        for argument, length in zip(arguments, lengths):
            if length:
                write.write(argument)
        result[0] = answer or 0
        write.write(result)
        calls += 1
print(calls)
