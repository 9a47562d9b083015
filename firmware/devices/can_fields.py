"""The words of the tables of batteries on CAN: what a field, a flag and a frame are made of; can_tables.py reads them.

They are added up (|) to small integers, as tuples cost the board's memory:
field: slot << 12 | first byte << 8 | how it lies there | what it counts | what is done with it;
flag, two numbers: byte << 12 | mask << 4 | what it belongs to (| how it is set, if not by any bit of the mask), the flag;
frame: (id, shortest length | SEQ slot of its group << 4 | its part of the group << 8 | parts that must have come << 16 |
parts that must go on coming once they came << 26 (| what else is said of it), fields, flags).
"""

from micropython import const

# how a value lies in the frame
U8 = const(0)
U16 = const(1)
S16 = const(2)
LOW_BITS = const(3)  # of a byte that holds something else too: three of a status, seven of a percentage
# what it counts, to be turned into its slot's unit: can_tables.QUANTITIES, with what can be true
VOLTS = const(0)  # 0.1 V
CENTIVOLTS = const(4)  # 0.01 V
AMPS = const(8)  # 0.1 A
DEGREES_100 = const(12)  # 0.1 degC above -100 degC
DEGREES = const(16)  # 0.1 degC
PERCENT = const(20)
MILLIVOLTS = const(24)
KELVINS = const(28)
CENTIPERCENT = const(2048)  # 0.01 %
RAW = const(0)  # as it is
# what the decoder does with it
CURRENT = const(32)  # less the offset option, turned into + discharge
CHARGE_LIMIT = const(64)  # less the offset option
DISCHARGE_LIMIT = const(96)
OPTIONAL = const(128)  # NO_VALUE where the frame ends before it, or fills it with ones
FINE_SOC = const(160)  # 0.01 %, believed where it agrees with the whole percents

# what a flag belongs to: BMS_REQUESTS, BMS_PROTECT, BMS_ALARM
REQUESTS = const(0)
PROTECT = const(1)
ALARM = const(2)
CLEAR = const(65536)  # it is set by cleared bits
EQUALS = const(131072)  # it is set by a byte that equals the mask

# of a frame
MAY_REST = const(16777216)  # sent only when there is something to say: its silence is none
WARNINGS = const(33554432)  # its flags are those that the option warnings_first swaps
AT_TIMES = const(536870912)  # not every pack sends it: it counts from the second on, and then must go on coming
