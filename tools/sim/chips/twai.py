"""The ESP32's CAN controller (TWAI, an SJA1000 in PeliCAN mode) at register level, with its errata.

Written from Philips' SJA1000 data sheet, Espressif's technical reference manuals and the ESP32 errata document.
Registers are 32-bit words indexed as the driver indexes them.  What the chip would ignore silently is noted in
`misuse`, so that a test can demand that a driver does nothing of the kind.
"""

from __future__ import annotations

from collections import deque

from tools.sim.chips import wire
from tools.sim.chips.errors import ErrorCounters
from tools.sim.chips.frame import Frame

MOD, CMR, SR, IR, IER, BTR0, BTR1 = 0, 1, 2, 3, 4, 6, 7
ALC, ECC, EWL, RXERR, TXERR, BUFFER, RMC, CDR = 11, 12, 13, 14, 15, 16, 29, 31
FIFO_BYTES = 64
CLOCK_HZ = 80_000_000

_RECEIVE, _TRANSMIT, _WARNING, _OVERRUN, _PASSIVE, _ARBITRATION, _BUS_ERROR = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40, 0x80


class Entry:
    """One message in the FIFO: its bytes as the receive window shows them; lost: it did not fit."""

    def __init__(self, raw: bytes, lost: bool) -> None:
        self.raw = raw
        self.lost = lost


class TwaiChip(wire.Node):
    """The controller.  `first`: the first ESP32, with its layout bit, narrow prescaler and errata."""

    def __init__(self, first: bool = True) -> None:
        self.first = first
        self.misuse: list[str] = []
        self.clocked = False
        self.held = True  # the reset line
        self.disturbed = 0  # dominant error flags sent while it should only listen
        self.spoilt = 0  # frames it sent or received wrongly because of an erratum
        self._restart()

    def _restart(self) -> None:
        self.registers = [0] * 32
        self.registers[MOD] = 1
        self.registers[CDR] = 0 if self.first else 0x100
        self.registers[EWL] = 96
        self.errors = ErrorCounters()
        self.fifo: deque[Entry] = deque()
        self.count = 0
        self.overrun = False
        self.locked_up = False
        self.filter = [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]
        self.transmit = [0] * 13
        self.command = 0  # of the frame in the transmit buffer: 0 none
        self.on_wire = False
        self.complete = True
        self.recovering = False
        self.tail_count = 0
        self.shifted_next = False
        self.spoil_next_send = False
        self.captured = False

    # ---- what the chip's surroundings do ---------------------------------------------------------------

    def set_reset(self, held: bool) -> None:
        """The reset line from the system registers."""
        if held and not self.held:
            self._restart()
        self.held = held

    def _alive(self, what: str) -> bool:
        if not self.clocked or self.held:
            self.misuse.append(f"{what} without clock or in reset")
            return False
        return True

    @property
    def resetting(self) -> bool:
        """In reset mode: off the wire, configuration writable."""
        return bool(self.registers[MOD] & 1)

    @property
    def listen_only(self) -> bool:
        """MOD.LOM."""
        return bool(self.registers[MOD] & 2)

    # ---- registers -------------------------------------------------------------------------------------

    def __getitem__(self, at: int) -> int:
        if not self._alive(f"read of register {at}"):
            return 0
        if self.first and not self.registers[CDR] & 0x80 and at not in (MOD, CDR):
            self.misuse.append(f"read of register {at} in the basic layout")
        if at == SR:
            return self._status()
        if at == IR:
            value = self.registers[IR] & ~_RECEIVE | (_RECEIVE if self.fifo else 0)
            self.registers[IR] = 0
            return value & self.registers[IER]
        if at == ECC:
            self.captured = False
            return self.registers[ECC]
        if at == RXERR:
            return self.errors.rec
        if at == TXERR:
            return self.tail_count if self.errors.off else min(255, self.errors.tec)
        if at == RMC:
            return self.count
        if BUFFER <= at < BUFFER + 13:
            if self.resetting:
                return self.filter[at - BUFFER] if at < BUFFER + 8 else 0
            raw = self.fifo[0].raw if self.fifo else b""
            return raw[at - BUFFER] if at - BUFFER < len(raw) else 0
        return 0 if at == CMR else self.registers[at]

    def __setitem__(self, at: int, value: int) -> None:
        if not self._alive(f"write to register {at}"):
            return
        if self.first and not self.registers[CDR] & 0x80 and at not in (MOD, CDR):
            self.misuse.append(f"write to register {at} in the basic layout")
        if at == MOD:
            self._write_mode(value)
        elif at == CMR:
            self._command(value)
        elif BUFFER <= at < BUFFER + 13:
            self._write_buffer(at - BUFFER, value)
        elif at in (BTR0, BTR1, EWL, RXERR, TXERR, CDR):
            if not self.resetting:
                self.misuse.append(f"write to register {at} outside reset mode")
            else:
                self._write_configuration(at, value)
        elif at == IER:
            self.registers[IER] = value
        else:
            self.misuse.append(f"write to register {at}, which is read-only")

    def _write_configuration(self, at: int, value: int) -> None:
        if at == RXERR:
            if not self.errors.off:
                self.errors.rec = value
        elif at == TXERR:
            if value == 255:
                self._fall_off(by_hand=True)
            else:
                self.errors.off = False
                self.errors.tec = value
        else:
            self.registers[at] = value
            if at == BTR0 or at == BTR1:
                self._retime()

    def _retime(self) -> None:
        narrow = self.first
        prescaler = 2 * ((self.registers[BTR0] & (0x3F if narrow else 0x1FFF)) + 1)
        if narrow and self.registers[IER] & 0x10:
            prescaler *= 2
        segments = 3 + (self.registers[BTR1] & 15) + (self.registers[BTR1] >> 4 & 7)
        self.bitrate = CLOCK_HZ // (prescaler * segments)

    def _write_mode(self, value: int) -> None:
        before = self.registers[MOD]
        if not before & 1 and not value & 1 and (before ^ value) & 0x0E:
            self.misuse.append("mode bits changed outside reset mode")
            return
        # Entering reset mode takes the other bits along; leaving it, too: they are in the same write.
        self.registers[MOD] = value & 15
        if value & 1 and not before & 1:
            self._halt()
            self.spoil_next_send = False  # erratum 3's cure
        if before & 1 and not value & 1:
            self._retime()
            if self.errors.off:
                self.recovering = True
                self.tail_count = 127
                self.wire.count_free(self)

    def _halt(self) -> None:
        self.fifo.clear()
        self.count = 0
        self.overrun = False
        self.command = 0
        self.on_wire = False

    def _status(self) -> int:
        status = 0x01 if self.fifo and not self.resetting else 0
        window_lost = bool(self.fifo) and self.fifo[0].lost
        if self.first:
            self.overrun = self.overrun or window_lost  # it is set when the read window comes to the lost frame
        status |= 0x02 if self.overrun else 0
        status |= 0x04 if not self.command else 0
        status |= 0x08 if self.complete else 0
        worst = max(self.errors.tec if not self.errors.off else self.tail_count, self.errors.rec)
        status |= 0x40 if worst >= self.registers[EWL] else 0
        status |= 0x80 if self.errors.off else 0
        if not self.first and window_lost:
            status |= 0x100
        return status

    def _write_buffer(self, at: int, value: int) -> None:
        if self.resetting:
            if at < 8:
                self.filter[at] = value & 0xFF
            return
        if self.command:
            self.misuse.append("transmit buffer written while occupied")
            return
        self.transmit[at] = value & 0xFF

    def _command(self, value: int) -> None:
        if self.resetting:
            if value & 0x11:
                self.misuse.append("transmit command in reset mode")
            return
        if value & 0x04 and self.fifo and not self.locked_up:
            self.fifo.popleft()
            self.count -= 1
        if value & 0x08:
            self.overrun = bool(self.fifo) and self.fifo[0].lost
        if value & 0x02 and self.command and not self.on_wire:
            self.command = 0
            self.complete = False
        if value & 0x11:
            if self.listen_only:
                self.misuse.append("transmit command in listen-only mode")
                return
            self.command = value
            self.complete = False
            self.wire.request()

    # ---- on the wire -----------------------------------------------------------------------------------

    def wants(self) -> Frame | None:
        if not self.command or self.resetting or self.errors.off or self.held:
            return None
        self.on_wire = True
        return self._frame(self.transmit)

    @staticmethod
    def _frame(raw: list[int]) -> Frame:
        extended, remote, dlc = bool(raw[0] & 0x80), bool(raw[0] & 0x40), raw[0] & 15
        if extended:
            identifier = raw[1] << 21 | raw[2] << 13 | raw[3] << 5 | raw[4] >> 3
        else:
            identifier = raw[1] << 3 | raw[2] >> 5
        start = 5 if extended else 3
        return Frame(identifier, bytes(raw[start : start + min(dlc, 8)]), extended, remote, dlc)

    def listens(self) -> bool:
        return self.clocked and not self.held and not self.resetting and not self.errors.off

    def acknowledges(self) -> bool:
        return self.listens() and not self.listen_only

    def destroys(self) -> bool:
        if not self.listens() or self.errors.passive:
            return False
        if self.listen_only:
            self.disturbed += 1  # the erratum: it should be silent, but is not error-passive
        return True

    def needs_ack(self) -> bool:
        return not self.registers[MOD] & 4

    def lost_arbitration(self, bit: int) -> None:
        self.on_wire = False
        self.registers[ALC] = bit & 31
        self._interrupt(_ARBITRATION)

    def transmitted(self, frame: Frame) -> None:
        if self.spoil_next_send:
            self.spoilt += 1
            self.spoil_next_send = False
            self.transmit_failed(wire.IN_DATA)
            return
        self.errors.sent()
        own = self.command & 0x10
        self.command = 0
        self.on_wire = False
        self.complete = True
        self._interrupt(_TRANSMIT)
        if own:
            self._accept(frame)

    def transmit_failed(self, segment: int) -> None:
        self.on_wire = False
        if not self.listen_only:
            self.errors.send_failed(segment == wire.IN_ACK)
        self._capture(segment, receiving=False)
        if self.command & 0x02:  # a single shot
            self.command = 0
            self.complete = False
        if self.errors.off:
            self._fall_off()

    def _fall_off(self, by_hand: bool = False) -> None:
        self._halt()
        self.errors.off = True
        self.errors.tec = 256
        self.tail_count = 128
        if by_hand or not self.first:  # erratum: the first ESP32 leaves REC standing
            self.errors.rec = 0
        self.registers[MOD] |= 1
        self.recovering = False
        self._interrupt(_WARNING)

    def bus_free(self) -> None:
        if not self.recovering or self.resetting:
            return
        if self.first and not self.listen_only and self.errors.rec < 255:
            self.errors.rec += 1  # erratum 1: REC moves during recovery ...
        if self.first and self.errors.rec:
            return  # ... and recovery does not complete while it is not 0
        self.tail_count -= 1
        if self.tail_count <= 0:
            self.recovering = False
            self.errors = ErrorCounters()
            self.spoil_next_send = self.first  # erratum 3
            self._interrupt(_WARNING)

    def receive_failed(self, segment: int) -> None:
        if not self.listen_only:
            self.errors.hear_failed()
        self._capture(segment, receiving=True)
        if self.first and segment in (wire.IN_DATA, wire.IN_CRC):
            self.shifted_next = True  # erratum 5

    def received(self, frame: Frame) -> None:
        if not self.listen_only:
            self.errors.heard()
        if self.shifted_next and frame.data:
            self.shifted_next = False
            self.spoilt += 1
            frame = Frame(frame.identifier, frame.data[1:] + b"\xff", frame.extended, frame.remote, frame.dlc)
        self._accept(frame)

    def _accept(self, frame: Frame) -> None:
        raw = self._raw(frame)
        if not self._passes(frame, raw):
            return
        used = sum(len(entry.raw) for entry in self.fifo if not entry.lost)
        lost = used + len(raw) > FIFO_BYTES or any(entry.lost for entry in self.fifo)
        if self.count < 64:
            self.fifo.append(Entry(bytes(len(raw)) if lost else raw, lost))
            self.count += 1
            if self.count == 64 and self.first:
                self.locked_up = True  # erratum 11
        if lost and not self.first:
            self.overrun = True
        self._interrupt(_RECEIVE)

    @staticmethod
    def _raw(frame: Frame) -> bytes:
        info = (0x80 if frame.extended else 0) | (0x40 if frame.remote else 0) | frame.dlc
        if frame.extended:
            head = (frame.identifier << 3).to_bytes(4, "big")
        else:
            head = (frame.identifier << 5).to_bytes(2, "big")
        return bytes([info]) + head + frame.data

    def _passes(self, frame: Frame, raw: bytes) -> bool:
        code, dont_care = self.filter[:4], self.filter[4:]
        if not self.registers[MOD] & 8:
            return any(self._passes_half(frame, raw, code, dont_care, half) for half in (0, 1))
        if frame.extended:
            seen = [*raw[1:4], raw[4] & 0xF8 | (4 if frame.remote else 0)]
            relevant = [0xFF, 0xFF, 0xFF, 0xFC]
        else:
            data = [*frame.data, 0, 0]
            seen = [raw[1], raw[2] & 0xE0 | (0x10 if frame.remote else 0), data[0], data[1]]
            relevant = [0xFF, 0xF0, 0xFF if frame.data else 0, 0xFF if len(frame.data) > 1 else 0]
        return all((c ^ s) & ~d & r == 0 for c, s, d, r in zip(code, seen, dont_care, relevant, strict=True))

    @staticmethod
    def _passes_half(frame: Frame, raw: bytes, code: list[int], dont_care: list[int], half: int) -> bool:
        """One of two short filters: 16 bits of a 29-bit id, or an 11-bit id (the first one: with a data byte)."""
        codes = code[2 * half : 2 * half + 2]
        masks = dont_care[2 * half : 2 * half + 2]
        if frame.extended:
            seen, relevant = [raw[1], raw[2]], [0xFF, 0xFF]
        else:
            nibble = frame.data[0] >> 4 if frame.data and half == 0 else 0
            seen = [raw[1], raw[2] & 0xE0 | (0x10 if frame.remote else 0) | nibble]
            relevant = [0xFF, 0xFF if frame.data and half == 0 else 0xF0]
            if half == 0 and frame.data:  # its low nibble is compared with that of the second filter's last byte
                low = (code[3] ^ frame.data[0]) & ~dont_care[3] & 0x0F
                if low:
                    return False
        return all((c ^ s) & ~d & r == 0 for c, s, d, r in zip(codes, seen, masks, relevant, strict=True))

    def _capture(self, segment: int, receiving: bool) -> None:
        if not self.captured:
            self.registers[ECC] = 0x80 | (0x20 if receiving else 0) | segment
            self.captured = True
        self._interrupt(_BUS_ERROR)

    def _interrupt(self, bit: int) -> None:
        self.registers[IR] |= bit


class Esp32Memory:
    """The system registers and the GPIO matrix around the chip, in place of machine.mem32."""

    def __init__(self, chip: TwaiChip, clock: int, reset: int) -> None:
        self.chip = chip
        self.words = {clock: 0xF9C1E06F & ~(1 << 19), reset: 1 << 19}
        self._clock = clock
        self._reset = reset

    def __getitem__(self, address: int) -> int:
        return self.words.get(address, 0)

    def __setitem__(self, address: int, value: int) -> None:
        self.words[address] = value
        self.chip.clocked = bool(self.words[self._clock] >> 19 & 1)
        self.chip.set_reset(bool(self.words[self._reset] >> 19 & 1))
