"""The byte-level loops of Modbus as viper functions: CRC, registers to bytes and back, moving bytes.

Written in the subset that is also plain Python, so the same file runs on a host.
"""

import micropython


@micropython.viper
def crc16(data: ptr8, start: int, end: int) -> int:
    """CRC-16/MODBUS of data[start:end]; on the wire its low byte comes first (Modbus over Serial Line V1.02, 6.2.2)."""
    crc = 0xFFFF
    i = start
    while i < end:
        crc ^= data[i]
        bit = 0
        while bit < 8:
            if crc & 1:
                crc = (crc >> 1) ^ 0xA001
            else:
                crc >>= 1
            bit += 1
        i += 1
    return crc


@micropython.viper
def pack(words: ptr16, count: int, frame: ptr8, at: int):
    """words[0:count] into frame[at:], high byte first."""
    i = 0
    while i < count:
        word = words[i]
        frame[at] = word >> 8
        frame[at + 1] = word & 0xFF
        at += 2
        i += 1


@micropython.viper
def unpack(frame: ptr8, at: int, count: int, words: ptr16):
    """frame[at:] into words[0:count], high byte first."""
    i = 0
    while i < count:
        words[i] = (frame[at] << 8) | frame[at + 1]
        at += 2
        i += 1


@micropython.viper
def move(source: ptr8, start: int, count: int, target: ptr8, at: int):
    """source[start:start + count] into target[at:]; within one buffer only towards its beginning."""
    i = 0
    while i < count:
        target[at + i] = source[start + i]
        i += 1


@micropython.viper
def copy_words(source: ptr16, start: int, count: int, target: ptr16, at: int):
    """source[start:start + count] into target[at:]."""
    i = 0
    while i < count:
        target[at + i] = source[start + i]
        i += 1
