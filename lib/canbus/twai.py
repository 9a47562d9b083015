"""The ESP32's own CAN controller (TWAI, an SJA1000 in PeliCAN mode) driven through its registers.

For stock MicroPython firmware, which has no CAN class for the ESP32.  The chip's interrupt cannot be had from
Python, so a 1 ms timer empties the 64-byte FIFO (4 extended frames, about 1.1 ms at 500 kbit/s) into the receive
ring; the acceptance filter keeps other nodes' frames out of it, and what is lost all the same is counted.

Errata of the first ESP32 that are worked around here (chip errata document, section TWAI; ESP-IDF does the same):
 1  the receive error counter moves in reset mode and in bus-off recovery: listen-only mode freezes it
 3  the first frame after bus-off recovery is spoilt: reset mode is entered and left once more
 4  reading the interrupt register may lose the transmit interrupt: the status register is looked at instead
 5  a frame received with an error spoils the next one's data: the FIFO is thrown away, the controller reset
 11 64 overrun messages lock up the FIFO: the controller is reset before
On all of them: listen-only mode would still send dominant error flags, unless it starts error-passive.
"""

from array import array

import micropython
from micropython import const

from canbus.controller import Controller
from canbus.esp32 import CLOCK_HZ, Esp32Port
from canbus.timing import solve

# registers, as 32-bit words; only the low byte counts (two on the newer chips' BTR0)
_MOD = const(0)
_CMR = const(1)
_SR = const(2)
_IR = const(3)
_IER = const(4)
_BTR0 = const(6)
_BTR1 = const(7)
_ALC = const(11)
_ECC = const(12)
_EWL = const(13)
_REC = const(14)
_TEC = const(15)
_ACR = const(16)  # in reset mode; the frame buffers lie at the same place otherwise
_AMR = const(20)
_BUFFER = const(16)
_RMC = const(29)
_CDR = const(31)

_RM = const(1)  # mode: reset
_LOM = const(2)  # listen only
_STM = const(4)  # self test: no acknowledgement needed
_AFM = const(8)  # one acceptance filter instead of two
_TR = const(1)  # commands: transmit, abort, release the receive buffer, clear overrun, self reception
_AT = const(2)
_RRB = const(4)
_CDO = const(8)
_SRR = const(16)
_RBS = const(1)  # status: frame received, overrun, transmit buffer free, transmitted, error, bus-off, frame missed
_DOS = const(2)
_TBS = const(4)
_TCS = const(8)
_BS = const(128)
_MS = const(256)
_BEI = const(128)  # interrupts: bus error
_ALL_INTERRUPTS = const(0xEF)  # latched, never delivered; bit 4 is the first ESP32's prescaler doubler
_ECC_RECEIVING = const(32)
_RMC_LIMIT = const(62)  # erratum 11 strikes at 64


@micropython.viper
def _peek(registers, at: int) -> int:
    r = ptr32(registers)
    return r[at] & 0xFFFF


@micropython.viper
def _poke(registers, at: int, value: int):
    r = ptr32(registers)
    r[at] = value


@micropython.viper
def _drain(registers, ids, info, ends, depth: int, first: int) -> int:
    """Empty the chip's FIFO into the ring; return 1 if the controller must be reset (errata 5 and 11).

    `ends`: read index, write index, frames lost for want of room, frames lost in the chip, loss to be told.
    `first`: 1 for the first ESP32.  At most 64 frames a call, which is what the FIFO's counter can count.
    """
    r = ptr32(registers)
    id_of = ptr32(ids)
    b = ptr8(info)
    e = ptr32(ends)
    if r[_IR] & _BEI:
        received = r[_ECC] & _ECC_RECEIVING  # reading it arms the capture for the next error
        if first and received:
            return 1
    if first and r[_RMC] >= _RMC_LIMIT:
        return 1
    n = 0
    while n < 64:
        status = r[_SR]
        if not status & _RBS:
            return 0
        n += 1
        if status & (_DOS if first else _MS):
            e[4] = 1
            e[3] += 1
            r[_CMR] = _RRB
            if first:  # every frame from here on is suspect
                while n < 128 and r[_RMC]:
                    e[3] += 1
                    n += 1
                    r[_CMR] = _RRB
            r[_CMR] = _CDO
            continue
        frame = r[_BUFFER] & 0xFF
        at = _BUFFER + 3
        can_id = (r[_BUFFER + 1] & 0xFF) << 3 | (r[_BUFFER + 2] & 0xFF) >> 5
        if frame & 0x80:
            can_id = can_id << 18 | (r[_BUFFER + 2] & 0x1F) << 13
            can_id = can_id | (r[_BUFFER + 3] & 0xFF) << 5 | (r[_BUFFER + 4] & 0xFF) >> 3
            at = _BUFFER + 5
        tail = e[1]
        following = tail + 1
        if following == depth:
            following = 0
        if following == e[0]:
            e[2] += 1
            e[4] = 1
        else:
            size = frame & 15
            if size > 8:
                size = 8
            entry = tail * 10
            b[entry] = (frame & 0x80) >> 6 | (frame & 0x40) >> 6
            b[entry + 1] = size
            i = 0
            while i < 8:
                b[entry + 2 + i] = r[at + i] & 0xFF if i < size and not frame & 0x40 else 0
                i += 1
            id_of[tail] = can_id
            e[1] = following
        r[_CMR] = _RRB
    return 0


class TWAI(Controller):
    """The chip's controller with the interface of machine.CAN.

    `port` (see esp32.Esp32Port) and `timer` are for other chips and for tests; timer False: only recv() polls.
    """

    _MODES = (0, 2, 3)  # normal, loopback (self reception, no acknowledgement needed), silent

    def __init__(self, id, bitrate, mode=0, tx_pin=-1, rx_pin=-1, port=None, timer=None, **options):
        super().__init__(32)
        if port is None:
            port = Esp32Port()
        self._port = port
        self._r = port.registers
        self._recovering = False
        self._suspect = False  # the FIFO cannot be trusted: reset the controller before reading on
        self._bitten = 0  # times an erratum made a reset necessary
        self._saved = array("i", [0] * 8)
        self._acceptance = bytearray(b"\0\0\0\0\xff\xff\xff\xff")
        if timer is None:
            from machine import Timer

            timer = Timer(1)  # every chip of the family has a timer of this number
        self._timer = timer
        self._on_tick = self._tick  # bound once: binding allocates
        port.route(tx_pin, rx_pin)
        self.init(bitrate, mode, **options)

    # ---- setting up --------------------------------------------------------------------------------------

    def _timing(self, bitrate, sample_point, sjw, tseg1, tseg2):
        even = range(2, self._port.prescaler_most + 1, 2)
        prescaler, tseg1, tseg2 = solve(CLOCK_HZ, bitrate, sample_point, tseg1, tseg2, even)
        sjw = min(sjw, tseg2)
        self._bitrate = CLOCK_HZ // (prescaler * (1 + tseg1 + tseg2))
        self._sjw = sjw
        self._tseg1 = tseg1
        self._tseg2 = tseg2
        self._btr0 = prescaler // 2 - 1 | (sjw - 1) << (6 if self._port.first else 14)
        self._btr1 = tseg1 - 1 | (tseg2 - 1) << 4

    def _start(self):
        self._port.power(True)
        self._port.reset()
        self._recovering = False
        self._suspect = False
        _poke(self._r, _MOD, _RM)
        if not _peek(self._r, _MOD) & _RM:
            raise OSError(19, "no TWAI controller answers at its address")  # ENODEV
        self._accept(self._fitted())
        self._configure(0, 0)
        self._leave_reset()
        if self._timer:
            self._timer.init(period=1, mode=self._timer.PERIODIC, callback=self._on_tick)

    def _configure(self, tec, rec):
        """Write every register that needs reset mode; the controller stays in it."""
        r = self._r
        if self._port.first:
            _poke(r, _CDR, 0x88)  # the full register layout; clock output off
        else:
            _poke(r, _CDR, 0x100)  # clock output off
        _poke(r, _MOD, _RM | _LOM | _AFM)  # erratum 1
        _poke(r, _BTR0, self._btr0)
        _poke(r, _BTR1, self._btr1)
        _poke(r, _EWL, 96)
        for i in range(8):
            _poke(r, _ACR + i, self._acceptance[i])
        if self._mode == self.MODE_SILENT:
            rec = 128  # error-passive for good, as listen-only freezes it: no dominant error flag
        _poke(r, _TEC, tec)
        _poke(r, _REC, rec)
        _poke(r, _IER, _ALL_INTERRUPTS)
        _peek(r, _IR)
        _peek(r, _ECC)

    def _mode_bits(self):
        if self._mode == self.MODE_SILENT:
            return _AFM | _LOM
        return _AFM | _STM if self._mode == self.MODE_LOOPBACK else _AFM

    def _leave_reset(self):
        _poke(self._r, _MOD, self._mode_bits() | _RM)
        _poke(self._r, _MOD, self._mode_bits())

    def _stop(self):
        if self._timer:
            self._timer.deinit()
        _poke(self._r, _MOD, _RM | _LOM | _AFM)
        self._port.power(False)

    # ---- filters -----------------------------------------------------------------------------------------

    def _apply_filters(self, filters):
        self._accept(filters)
        self._reconfigure()

    def _accept(self, filters):
        a = self._acceptance
        for i in range(8):
            a[i] = 0xFF if i >= 4 else 0
        if filters:
            can_id, mask, flags = filters[0]
            shift = 3 if flags else 21  # the id is left-aligned in 32 bits; an 11-bit one is followed by data
            code = can_id << shift
            care = mask << shift
            for i in range(4):
                a[i] = (code >> (24 - 8 * i)) & 0xFF
                a[4 + i] = 0xFF ^ ((care >> (24 - 8 * i)) & 0xFF)
        elif filters is not None:  # receive nothing: an id that is not in use, and recv() refuses the rest
            for i in range(8):
                a[i] = 0xFF if i < 4 else 0

    def _reconfigure(self):
        """Enter reset mode, write everything again, go on with the same error counters."""
        if _peek(self._r, _SR) & _BS:
            return  # bus-off: restart() writes them
        self._busy = True
        try:
            pending = not _peek(self._r, _SR) & _TBS
            _poke(self._r, _MOD, self._mode_bits() | _RM)
            self._configure(_peek(self._r, _TEC), _peek(self._r, _REC))
            self._leave_reset()
            if pending:
                self._resend()
        finally:
            self._busy = False

    # ---- the exchange ------------------------------------------------------------------------------------

    def _tick(self, _timer):
        """Every millisecond: empty the FIFO; all else waits for the next recv()."""
        if self._handler is not None:
            self._service()
        elif self._running and not self._busy and not self._suspect:
            if _drain(self._r, self._ids, self._info, self._rx, self._depth, 1 if self._port.first else 0):
                self._suspect = True

    def _exchange(self):
        r = self._r
        rx = self._rx
        status = _peek(r, _SR)
        if status & _BS:
            self._judge(255, 0, True)
            return
        if self._recovering:
            self._recovering = False  # recovery is complete; erratum 3: reset mode once more before sending
            _poke(r, _MOD, self._mode_bits() | _RM)
            self._configure(0, 0)
            self._leave_reset()
        if _peek(r, _MOD) & 0x0F != self._mode_bits():  # reset or without clock, and not by us
            self._state = self.STATE_STOPPED
            return
        before = rx[1]
        if self._suspect or _drain(r, self._ids, self._info, rx, self._depth, 1 if self._port.first else 0):
            self._reset_chip()
        if rx[1] != before:
            self._events |= self.IRQ_RX
        if _peek(r, _SR) & _TBS:
            if self._in_buffer[0] >= 0:
                self._left(0, _peek(r, _SR) & _TCS != 0)
            self._feed()
        tec = _peek(r, _TEC) & 0xFF
        # A listener's counter stands at 128 on purpose: it says nothing of the bus.
        self._judge(tec, 0 if self._mode == self.MODE_SILENT else _peek(r, _REC) & 0xFF, False)

    def _reset_chip(self):
        """Errata 5 and 11: what the FIFO holds cannot be trusted; begin anew with the same settings and counters."""
        r = self._r
        rx = self._rx
        self._suspect = False
        self._bitten += 1
        lost = _peek(r, _RMC)
        if lost:
            rx[3] += lost
            rx[4] = 1
        pending = not _peek(r, _SR) & _TBS
        _poke(r, _MOD, self._mode_bits() | _RM)
        tec = _peek(r, _TEC)
        rec = _peek(r, _REC)
        self._port.reset()
        _poke(r, _MOD, _RM)
        self._configure(tec, rec)
        self._leave_reset()
        if pending:
            self._resend()

    def _resend(self):
        """The reset cut off a frame on its way: send it again.  At worst it goes out twice."""
        if self._in_buffer[0] >= 0:
            self._load(0, self._in_buffer[0])

    def _load(self, _buffer, slot):
        r = self._r
        can_id = self._tx_id[slot]
        flags = self._tx_flags[slot]
        size = self._tx_size[slot]
        info = size | (0x40 if flags & self.FLAG_RTR else 0)
        if flags & self.FLAG_EXT_ID:
            _poke(r, _BUFFER, info | 0x80)
            _poke(r, _BUFFER + 1, can_id >> 21)
            _poke(r, _BUFFER + 2, (can_id >> 13) & 0xFF)
            _poke(r, _BUFFER + 3, (can_id >> 5) & 0xFF)
            _poke(r, _BUFFER + 4, (can_id & 31) << 3)
            at = _BUFFER + 5
        else:
            _poke(r, _BUFFER, info)
            _poke(r, _BUFFER + 1, can_id >> 3)
            _poke(r, _BUFFER + 2, (can_id & 7) << 5)
            at = _BUFFER + 3
        if not flags & self.FLAG_RTR:
            for i in range(size):
                _poke(r, at + i, self._tx_data[8 * slot + i])
        _poke(r, _CMR, _SRR if self._mode == self.MODE_LOOPBACK else _TR)

    def _abort(self, _buffer):
        _poke(self._r, _CMR, _AT)
        status = _peek(self._r, _SR)
        return status & _TBS != 0 and not status & _TCS

    def _recover(self):
        """Leave bus-off the way the standard wants it; recv() and the timer notice when it is done."""
        r = self._r
        if not _peek(r, _SR) & _BS:
            _poke(r, _CMR, _AT)
            return
        if self._recovering:
            return
        _poke(r, _MOD, _RM | _LOM | _AFM)  # erratum 1: freeze the receive error counter ...
        if self._port.first:
            _poke(r, _TEC, 0)  # ... and make it 0 by going bus-off once more
            _poke(r, _TEC, 255)
            _peek(r, _IR)
        self._recovering = True
        self._state = self.STATE_BUS_OFF
        _poke(r, _MOD, _LOM | _AFM)  # operating, still frozen: 128 times 11 recessive bits are counted down
