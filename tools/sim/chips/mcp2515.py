"""Microchip's MCP2515 CAN controller at the level of its SPI pins, written from data sheet DS20001801.

`spi`, `cs` and `int` stand in for machine.SPI and machine.Pin.  Writes that the chip would ignore in its present
mode are noted in `misuse`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.sim.chips import wire
from tools.sim.chips.errors import ErrorCounters
from tools.sim.chips.frame import Frame

CANSTAT, CANCTRL, TEC, REC = 0x0E, 0x0F, 0x1C, 0x1D
CNF3, CNF2, CNF1, CANINTE, CANINTF, EFLG = 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D
TXBCTRL = (0x30, 0x40, 0x50)
RXBCTRL = (0x60, 0x70)
NORMAL, SLEEP, LOOPBACK, LISTEN, CONFIG = 0x00, 0x20, 0x40, 0x60, 0x80
ERRIF = 0x20
MODIFIABLE = {0x0C, 0x0D, CANCTRL, CNF3, CNF2, CNF1, CANINTE, CANINTF, EFLG, *TXBCTRL, *RXBCTRL}
CONFIG_ONLY = {*range(0x0C), *range(0x10, 0x1C), *range(0x20, 0x2B), 0x0D}
FILTERS = (0x00, 0x04, 0x08, 0x10, 0x14, 0x18)
MASKS = (0x20, 0x24)


class ChipSelect:
    """The CS pin: falling begins an instruction, rising ends it."""

    def __init__(self, chip: Mcp2515Chip) -> None:
        self._chip = chip

    def value(self, level: int) -> None:
        self._chip.select(not level)


class InterruptPin:
    """The INT output as a machine.Pin input with irq()."""

    IRQ_FALLING = 2

    def __init__(self, chip: Mcp2515Chip) -> None:
        self._chip = chip
        self.handler: Callable[[Any], None] | None = None
        self.latency_us = 0.0  # from the edge to the handler, as in an interpreter that is busy

    def value(self) -> int:
        return 0 if self._chip.interrupting else 1

    def irq(self, handler: Callable[[Any], None] | None = None, trigger: int = 0) -> None:
        self.handler = handler

    def fell(self) -> None:
        """The chip has just pulled the pin low."""
        if self.handler is not None:
            handler = self.handler
            self._chip.wire.after_us(self.latency_us, lambda: handler(self))


class Spi:
    """machine.SPI, as far as a driver needs it.  A transfer takes its time on the chip's wire."""

    def __init__(self, chip: Mcp2515Chip) -> None:
        self._chip = chip
        self.byte_us = 0.8  # 10 MHz
        self.overhead_us = 40.0  # of the interpreter, for each transfer

    def write_readinto(self, out: memoryview, into: memoryview) -> None:
        for i, byte in enumerate(bytes(out)):
            into[i] = self._chip.exchange(byte)
        self._chip.wire.run_us(self.overhead_us + self.byte_us * len(out))


class Mcp2515Chip(wire.Node):
    """The chip.  `present` False: nothing is soldered there, and MISO reads `floating`."""

    def __init__(self, oscillator_hz: int = 16_000_000) -> None:
        self.oscillator_hz = oscillator_hz
        self.present = True
        self.floating = 0xFF
        self.misuse: list[str] = []
        self.overflowed = 0  # frames lost because both buffers were full
        self.recovering = False
        self.cs, self.int, self.spi = ChipSelect(self), InterruptPin(self), Spi(self)
        self._reset()

    def lose_power(self) -> None:
        """For a moment: a brown-out, or ESD on its reset pin."""
        self._reset()
        self._interrupts()

    def _reset(self) -> None:
        self.registers = bytearray(128)
        self._retime()
        self.registers[CANCTRL] = CONFIG | 0x07
        self.registers[CANSTAT] = CONFIG
        self.errors = ErrorCounters()
        self.sending = -1
        self.low = False
        self.free_count = 0
        self.recovering = False
        self._selected = False
        self._input: list[int] = []

    # ---- SPI -------------------------------------------------------------------------------------------

    def select(self, on: bool) -> None:
        """CS: a rising edge ends the instruction."""
        if not on and self._selected:
            self._finish()
        self._selected = on
        self._input = []

    def exchange(self, byte: int) -> int:
        """One byte in, one out."""
        if not self.present:
            return self.floating
        if not self._selected:
            self.misuse.append("SPI traffic without chip select")
            return 0xFF
        self._input.append(byte)
        first, n = self._input[0], len(self._input)
        answer = 0
        if first == 0x03 and n > 2:
            answer = self._read((self._input[1] + n - 3) & 0x7F)
        elif first & 0xF9 == 0x90 and n > 1:
            answer = self._read(self._rx_start(first) + n - 2)
        elif first == 0xA0 and n > 1:
            answer = self._read_status()
        elif first == 0x02 and n > 2:
            self._write((self._input[1] + n - 3) & 0x7F, byte)
        elif first & 0xF8 == 0x40 and n > 1:
            buffer, from_data = divmod(first & 7, 2)
            self._write(TXBCTRL[min(buffer, 2)] + (6 if from_data else 1) + n - 2, byte)
        elif first == 0x05 and n == 4:
            self._modify(self._input[1], self._input[2], byte)
        elif n == 1 and not (first in (0x03, 0xA0, 0xB0, 0x02, 0x05, 0xC0) or first >> 6 in (1, 2)):
            self.misuse.append(f"instruction {first:#x}")
        return answer

    @staticmethod
    def _rx_start(instruction: int) -> int:
        return RXBCTRL[instruction >> 2 & 1] + (6 if instruction & 2 else 1)

    def _finish(self) -> None:
        if not self._input or not self.present:
            return
        first = self._input[0]
        if first == 0xC0:
            self._reset()
        elif first & 0xF8 == 0x80:
            for buffer in range(3):
                if first >> buffer & 1:
                    self._request(buffer)
        elif first & 0xF9 == 0x90 and len(self._input) > 1:
            self._clear_flag(1 << (first >> 2 & 1))

    def _read_status(self) -> int:
        flags = self.registers[CANINTF]
        status = flags & 3
        for buffer in range(3):
            status |= (self.registers[TXBCTRL[buffer]] >> 3 & 1) << (2 + 2 * buffer)
            status |= (flags >> (2 + buffer) & 1) << (3 + 2 * buffer)
        return status

    def _read(self, address: int) -> int:
        if address & 15 == 0x0E:
            return self.registers[CANSTAT]
        if address & 15 == 0x0F:
            return self.registers[CANCTRL]
        if address == TEC:
            return min(255, self.errors.tec)
        if address == REC:
            return self.errors.rec
        return self.registers[address]

    def _modify(self, address: int, mask: int, value: int) -> None:
        if address not in MODIFIABLE:
            self.misuse.append(f"bit modify of register {address:#x}")
            mask = 0xFF
        self._write(address, self._read(address) & ~mask | value & mask)

    def _write(self, address: int, value: int) -> None:
        mode = self.registers[CANSTAT] & 0xE0
        if address & 15 == 0x0F:
            self._control(value)
        elif address & 15 == 0x0E or address in (TEC, REC):
            self.misuse.append(f"write to register {address:#x}, which is read-only")
        elif address in CONFIG_ONLY and mode != CONFIG:
            self.misuse.append(f"write to register {address:#x} outside configuration mode")
        elif address in TXBCTRL:
            self._transmit_control(TXBCTRL.index(address), value)
        elif address in RXBCTRL:
            self.registers[address] = self.registers[address] & 0x0B | value & 0x64
        elif address == EFLG:
            self.registers[EFLG] = self.registers[EFLG] & 0x3F | value & self.registers[EFLG] & 0xC0
        elif address == CANINTF:
            self.registers[CANINTF] = value
            self._interrupts()
        else:
            block = address & 0xF0
            if block in TXBCTRL and self.registers[block] & 8:
                self.misuse.append("transmit buffer written while its frame waits")
                return
            self.registers[address] = value
            if address in (CNF1, CNF2, CNF3):
                self._retime()

    def _retime(self) -> None:
        cnf1, cnf2, cnf3 = (self.registers[r] for r in (CNF1, CNF2, CNF3))
        first = (cnf2 >> 3 & 7) + 1
        second = (cnf3 & 7) + 1 if cnf2 & 0x80 else max(first, 2)
        quanta = 1 + (cnf2 & 7) + 1 + first + second
        self.bitrate = self.oscillator_hz // (2 * ((cnf1 & 63) + 1) * quanta)

    def _control(self, value: int) -> None:
        self.registers[CANCTRL] = value
        if value & 0x10:
            for buffer in range(3):
                self._abort(buffer)
        if self.sending < 0:
            self._switch()

    def _switch(self) -> None:
        wanted = self.registers[CANCTRL] & 0xE0
        before = self.registers[CANSTAT] & 0xE0
        if wanted == before:
            return
        if wanted == CONFIG:
            self.errors = ErrorCounters()
        self.registers[CANSTAT] = wanted
        if wanted == NORMAL and any(self.registers[c] & 8 for c in TXBCTRL):
            self.wire.request()

    def _transmit_control(self, buffer: int, value: int) -> None:
        before = self.registers[TXBCTRL[buffer]]
        self.registers[TXBCTRL[buffer]] = before & 0x78 | value & 3
        if value & 8 and not before & 8:
            self._request(buffer)
        elif before & 8 and not value & 8:
            self._abort(buffer)

    def _abort(self, buffer: int) -> None:
        control = TXBCTRL[buffer]
        if self.registers[control] & 8 and self.sending != buffer:
            self.registers[control] = self.registers[control] & ~8 | 0x40

    def _request(self, buffer: int) -> None:
        control = TXBCTRL[buffer]
        self.registers[control] = self.registers[control] & 3 | 8
        mode = self.registers[CANSTAT] & 0xE0
        if mode == LOOPBACK:
            frame = self._frame(buffer)
            self.registers[control] &= ~8
            self._raise(4 << buffer)
            self._accept(frame)
        elif mode == NORMAL:
            self.wire.request()

    def _raise(self, flag: int) -> None:
        self.registers[CANINTF] |= flag
        self._interrupts()

    def _clear_flag(self, flag: int) -> None:
        self.registers[CANINTF] &= ~flag
        self._interrupts()

    @property
    def interrupting(self) -> bool:
        """INT is low."""
        return bool(self.registers[CANINTF] & self.registers[CANINTE])

    def _interrupts(self) -> None:
        low = self.interrupting
        if low and not self.low:
            self.low = True
            self.int.fell()
        self.low = low

    # ---- on the wire -----------------------------------------------------------------------------------

    def _mode(self) -> int:
        return self.registers[CANSTAT] & 0xE0

    def listens(self) -> bool:
        return self.present and self._mode() in (NORMAL, LISTEN) and not self.errors.off

    def acknowledges(self) -> bool:
        return self.listens() and self._mode() == NORMAL

    def destroys(self) -> bool:
        return self.acknowledges() and not self.errors.passive

    def wants(self) -> Frame | None:
        if self._mode() != NORMAL or self.errors.off or not self.present:
            return None
        waiting = [b for b in range(3) if self.registers[TXBCTRL[b]] & 8]
        if not waiting:
            return None
        self.sending = max(waiting, key=lambda b: (self.registers[TXBCTRL[b]] & 3, b))
        return self._frame(self.sending)

    def _frame(self, buffer: int) -> Frame:
        raw = self.registers[TXBCTRL[buffer] + 1 : TXBCTRL[buffer] + 14]
        extended = bool(raw[1] & 8)
        base = raw[0] << 3 | raw[1] >> 5
        identifier = base << 18 | (raw[1] & 3) << 16 | raw[2] << 8 | raw[3] if extended else base
        dlc = raw[4] & 15
        return Frame(identifier, bytes(raw[5 : 5 + min(dlc, 8)]), extended, bool(raw[4] & 0x40), dlc)

    def lost_arbitration(self, bit: int) -> None:
        self.registers[TXBCTRL[self.sending]] |= 0x20
        self._sent_or_not()

    def transmitted(self, frame: Frame) -> None:
        self.errors.sent()
        self.registers[TXBCTRL[self.sending]] &= 3
        self._raise(4 << self.sending)
        self._sent_or_not()

    def transmit_failed(self, segment: int) -> None:
        self.errors.send_failed(segment == wire.IN_ACK)
        self.registers[TXBCTRL[self.sending]] |= 0x10
        self._sent_or_not()
        if self.errors.off and not self.recovering:
            self.recovering = True  # this chip begins to recover by itself
            self.free_count = 128
            self.wire.count_free(self)

    def _sent_or_not(self) -> None:
        self.sending = -1
        self._flags()
        if self.registers[CANCTRL] & 0x10:
            for buffer in range(3):
                self._abort(buffer)
        self._switch()

    def bus_free(self) -> None:
        self.free_count -= 1
        if self.free_count <= 0:
            self.recovering = False
            self.errors = ErrorCounters()
            self._flags()
            self.wire.request()

    def receive_failed(self, segment: int) -> None:
        if self._mode() == NORMAL:
            self.errors.hear_failed()
        self._flags()
        self._raise(0x80)

    def received(self, frame: Frame) -> None:
        if self._mode() == NORMAL:
            self.errors.heard()
        self._flags()
        self._accept(frame)

    def _flags(self) -> None:
        e = self.errors
        flags = self.registers[EFLG] & 0xC0
        flags |= (0x20 if e.off else 0) | (0x10 if e.tec > 127 else 0) | (0x08 if e.rec > 127 else 0)
        flags |= (0x04 if e.tec > 95 else 0) | (0x02 if e.rec > 95 else 0)
        flags |= 0x01 if flags & 0x06 else 0
        if flags & ~self.registers[EFLG]:
            self.registers[EFLG] = flags
            self._raise(ERRIF)
        self.registers[EFLG] = flags

    def _accept(self, frame: Frame) -> None:
        first = self._matches(0, frame)
        full = [bool(self.registers[CANINTF] >> n & 1) for n in range(2)]
        if first and not full[0]:
            self._store(0, frame)
        elif first and self.registers[RXBCTRL[0]] & 4:
            if full[1]:
                self._overflow(0x80)
            else:
                self._store(1, frame)
        elif first:
            self._overflow(0x40)
        elif self._matches(1, frame):
            if full[1]:
                self._overflow(0x80)
            else:
                self._store(1, frame)

    def _overflow(self, flag: int) -> None:
        self.overflowed += 1
        self.registers[EFLG] |= flag
        self._raise(ERRIF)

    def _store(self, buffer: int, frame: Frame) -> None:
        at = RXBCTRL[buffer] + 1
        base = frame.identifier >> 18 if frame.extended else frame.identifier
        self.registers[at] = base >> 3
        low = (base & 7) << 5
        if frame.extended:
            low |= 0x08 | frame.identifier >> 16 & 3
        elif frame.remote:
            low |= 0x10
        self.registers[at + 1] = low
        self.registers[at + 2] = frame.identifier >> 8 & 0xFF if frame.extended else 0
        self.registers[at + 3] = frame.identifier & 0xFF if frame.extended else 0
        self.registers[at + 4] = frame.dlc | (0x40 if frame.extended and frame.remote else 0)
        self.registers[at + 5 : at + 5 + len(frame.data)] = frame.data
        self._raise(1 << buffer)

    def _word(self, at: int) -> tuple[int, int, int, bool]:
        """(11-bit part, two high bits of the extension, its low 16, EXIDE) of a filter or mask."""
        a, b, c, d = self.registers[at : at + 4]
        return a << 3 | b >> 5, b & 3, c << 8 | d, bool(b & 8)

    def _matches(self, buffer: int, frame: Frame) -> bool:
        if self.registers[RXBCTRL[buffer]] & 0x60 == 0x60:
            return True
        mask_base, mask_high, mask_low, _ = self._word(MASKS[buffer])
        for at in FILTERS[:2] if buffer == 0 else FILTERS[2:]:
            base, high, low, extended = self._word(at)
            if extended != frame.extended:
                continue
            if frame.extended:
                seen = frame.identifier >> 18, frame.identifier >> 16 & 3, frame.identifier & 0xFFFF
            else:  # an 11-bit frame is compared with its first two data bytes instead of an extension
                data = frame.data[:2] + bytes(2)
                seen = frame.identifier, 0, data[0] << 8 | data[1]
                mask_high = 0
            if not ((seen[0] ^ base) & mask_base or (seen[1] ^ high) & mask_high or (seen[2] ^ low) & mask_low):
                return True
        return False
