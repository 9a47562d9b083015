"""The kernels: what the cycle computes, one file a step, in viper; Cycle.run is the list of them.

They are pure (arrays in, arrays out), integer only, allocate nothing, and mean the same in 32-bit viper, 64-bit viper and
CPython: no floats, no unary minus, no shift by 32 or more, divisors checked, intermediates inside int32.  `img` is Image.now,
`par` is Image.par; chg: 0 discharge, 1 charge.

Signed loads: a 64-bit viper reads ptr32 without sign, so a slot that may be negative is read as `((a[i] + b) & m) - b` with
b = 2**30 and m = 2**31 - 1, which changes nothing elsewhere.  Neither is a small int on the chip, so each function makes them
from one = 1.  A call costs more than the arithmetic in it, and a kernel cannot call another without allocating: what one leaves
for the next is in a slot.
"""
