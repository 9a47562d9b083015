"""A CAN controller on SPI: Microchip's MCP2515 (data sheet DS20001801), with its INT pin or polled.

It has two receive buffers, used here as a queue of two (RXB0 rolls over into RXB1), and three transmit buffers.
With INT wired, each falling edge moves what was received into the 32-frame ring, at the next bytecode the
interpreter can spare; a frame that found both buffers full is counted as lost.

One that resets by itself (brown-out, ESD) wakes in configuration mode with its interrupts off, and one that is gone reads all
0x00 or all 0xFF: both stand beside the flags that every look reads, so noticing costs three bytes of a transfer.
"""

from micropython import const

from canbus.controller import Controller
from canbus.filters import fit
from canbus.timing import solve

_RESET = const(0xC0)  # SPI instructions
_READ = const(0x03)
_WRITE = const(0x02)
_MODIFY = const(0x05)
_READ_STATUS = const(0xA0)
_READ_RX = const(0x90)  # and 4 for the second buffer; reading clears its RXnIF
_LOAD_TX = const(0x40)  # and 2, 4 for the second and third buffer
_SEND = const(0x80)  # and a bit for each buffer

_RXF0 = const(0x00)
_RXF3 = const(0x10)
_RXM0 = const(0x20)
_CANCTRL = const(0x0F)
_CANSTAT = const(0x0E)
_TEC = const(0x1C)
_CNF3 = const(0x28)
_CANINTE = const(0x2B)
_CANINTF = const(0x2C)
_EFLG = const(0x2D)
_TXB0CTRL = const(0x30)
_RXB0CTRL = const(0x60)
_RXB1CTRL = const(0x70)

_NORMAL = const(0x00)  # modes of operation, as in CANCTRL and CANSTAT
_LOOPBACK = const(0x40)
_LISTEN = const(0x60)
_CONFIG = const(0x80)
_RX_INTERRUPTS = const(0x03)
_ERROR_INTERRUPT = const(0x20)
_TXREQ = const(0x08)
_TX_FAILED = const(0x40)  # TXBnCTRL.ABTF: aborted
_ENABLED = const(0x23)  # CANINTE: both receive buffers, errors
_OVERFLOWS = const(0xC0)  # EFLG
_BUS_OFF = const(0x20)
_EXTENDED = const(0x08)  # in an id's SIDL byte


class MCP2515(Controller):
    """An MCP2515 with the interface of machine.CAN.  `spi`, `cs` and `int` may be given instead of pin numbers."""

    TX_BUFFERS = 3
    _MODES = (0, 3, 4)  # normal, silent, silent loopback (the chip's loopback never touches the bus)
    _BUFFERS = 3
    _HW_FILTERS = 6

    def __init__(
        self,
        id,
        bitrate,
        mode=0,
        oscillator_hz=16000000,
        sck_pin=-1,
        mosi_pin=-1,
        miso_pin=-1,
        cs_pin=-1,
        int_pin=-1,
        reset_pin=-1,
        spi=None,
        cs=None,
        int=None,
        **options
    ):
        super().__init__(32)
        self._oscillator_hz = oscillator_hz
        self._spi, self._cs, self._int = spi, cs, int
        if spi is None:
            self._open_pins(id, sck_pin, mosi_pin, miso_pin, cs_pin, int_pin, reset_pin)
        self._cs.value(1)
        self._out = bytearray(14)
        self._in = bytearray(14)
        self._out_views = [memoryview(self._out)[:n] for n in range(15)]
        self._in_views = [memoryview(self._in)[:n] for n in range(15)]
        self._on_int = self._service  # bound once: binding allocates
        self.init(bitrate, mode, **options)

    def _open_pins(self, id, sck_pin, mosi_pin, miso_pin, cs_pin, int_pin, reset_pin):
        from machine import SPI, Pin

        if cs_pin < 0:
            raise ValueError("cs_pin %d: the mcp2515 back end needs a chip select pin" % cs_pin)
        self._cs = Pin(cs_pin, Pin.OUT, value=1)
        if reset_pin >= 0:
            Pin(reset_pin, Pin.OUT, value=1)
        if int_pin >= 0:
            self._int = Pin(int_pin, Pin.IN, Pin.PULL_UP)
        # 10 MHz is the chip's limit; mode 0.
        if sck_pin < 0:
            self._spi = SPI(id, baudrate=10000000, polarity=0, phase=0)
            return
        sck, mosi, miso = Pin(sck_pin), Pin(mosi_pin), Pin(miso_pin)
        self._spi = SPI(id, baudrate=10000000, polarity=0, phase=0, sck=sck, mosi=mosi, miso=miso)

    # ---- SPI ---------------------------------------------------------------------------------------------

    def _transfer(self, n):
        """Exchange the first `n` bytes of _out; the answer is in _in.  Allocates nothing."""
        self._cs.value(0)
        self._spi.write_readinto(self._out_views[n], self._in_views[n])
        self._cs.value(1)

    def _read(self, address):
        out = self._out
        out[0] = _READ
        out[1] = address
        out[2] = 0
        self._transfer(3)
        return self._in[2]

    def _write(self, address, value):
        out = self._out
        out[0] = _WRITE
        out[1] = address
        out[2] = value
        self._transfer(3)

    def _modify(self, address, mask, value):
        out = self._out
        out[0] = _MODIFY
        out[1] = address
        out[2] = mask
        out[3] = value
        self._transfer(4)

    def _command(self, instruction):
        self._out[0] = instruction
        self._transfer(1)

    def _status(self):
        """RX0IF, RX1IF, then TXREQ and TXIF of each transmit buffer."""
        self._out[0] = _READ_STATUS
        self._out[1] = 0
        self._transfer(2)
        return self._in[1]

    # ---- setting up --------------------------------------------------------------------------------------

    def _timing(self, bitrate, sample_point, sjw, tseg1, tseg2):
        # A quantum is 2 * prescaler periods; propagation and first phase segment make tseg1 (2 to 16).
        half = self._oscillator_hz // 2
        prescaler, tseg1, tseg2 = solve(half, bitrate, sample_point, tseg1, tseg2, range(1, 65), 16, 2)
        if tseg1 < 2:
            raise ValueError("bitrate %d: the %d Hz oscillator is too slow for it" % (bitrate, self._oscillator_hz))
        sjw = min(sjw, tseg2)
        self._bitrate = half // (prescaler * (1 + tseg1 + tseg2))
        self._sjw = sjw
        self._tseg1 = tseg1
        self._tseg2 = tseg2
        first = tseg1 // 2
        self._cnf1 = (sjw - 1) << 6 | prescaler - 1
        self._cnf2 = 0x80 | (first - 1) << 3 | (tseg1 - first - 1)  # BTLMODE: CNF3 gives the second segment
        self._cnf3 = tseg2 - 1

    def _start(self):
        self._command(_RESET)
        for _ in range(20 if self._running else 200):  # the oscillator needs 128 periods to start; when running, control waits
            if self._read(_CANSTAT) & 0xEE == _CONFIG:
                break
        else:
            raise OSError(19, "no MCP2515 answers: check SPI pins, chip select, crystal")  # ENODEV
        self._write(_CNF3, self._cnf3)
        self._write(_CNF3 + 1, self._cnf2)
        self._write(_CNF3 + 2, self._cnf1)
        if self._read(_CNF3 + 2) != self._cnf1:
            raise OSError(5, "the MCP2515 does not keep what is written: check MOSI")  # EIO
        self._write_filters(self._fitted())
        self._write(_CANINTE, _ENABLED)
        self._run_mode = {self.MODE_SILENT: _LISTEN, self.MODE_SILENT_LOOPBACK: _LOOPBACK}.get(self._mode, _NORMAL)
        self._enter(self._run_mode)
        if self._int is not None:
            self._int.irq(handler=self._on_int, trigger=self._int.IRQ_FALLING)

    def _enter(self, mode):
        """Ask for a mode of operation and wait for it: the chip first ends a frame on the wire (270 us at 500k)."""
        self._modify(_CANCTRL, 0xE0, mode)
        for _ in range(400):
            if self._read(_CANSTAT) & 0xE0 == mode:
                return
        raise OSError(110, "the MCP2515 does not change its mode")  # ETIMEDOUT

    def _stop(self):
        if self._int is not None:
            self._int.irq(handler=None)
        self._command(_RESET)

    # ---- filters -----------------------------------------------------------------------------------------

    def _apply_filters(self, filters):
        self._busy = True
        try:
            self._enter_config()
            self._write_filters(filters)
            self._enter(self._run_mode)
        finally:
            self._busy = False

    def _enter_config(self):
        """Frames that wait to be sent would hold the chip in its mode: take them back, to be loaded again after."""
        self._modify(_CANCTRL, 0x10, 0x10)  # abort all
        for buffer in range(self._BUFFERS):
            if self._in_buffer[buffer] >= 0:
                if self._read(_TXB0CTRL + 16 * buffer) & _TX_FAILED:
                    self._wait_again(buffer)
                else:
                    self._left(buffer, True)
        self._enter(_CONFIG)
        self._modify(_CANCTRL, 0x10, 0)

    def _write_filters(self, filters):
        """Both buffers take the same filters, so that the second one queues what finds the first one full.

        A mask is shared by the filters of its buffer, and of an 11-bit frame it also masks the first data bytes:
        with both formats in use RXB0 gets the 11-bit filters and RXB1 the 29-bit ones.
        """
        if filters is None:
            self._write(_RXB0CTRL, 0x64)  # take everything, roll over
            self._write(_RXB1CTRL, 0x60)
            return
        self._write(_RXB0CTRL, 0x04)
        self._write(_RXB1CTRL, 0x00)
        short = [f for f in filters if not f[2]]
        long = [f for f in filters if f[2]]
        self._write_group(0, short or long)
        self._write_group(1, long or short)

    def _write_group(self, group, filters):
        """Mask and filters of one receive buffer; none at all becomes a filter that the ring's check refuses."""
        if not filters:
            filters = ((0x1FFFFFFF, 0x1FFFFFFF, self.FLAG_EXT_ID),)
        places = (_RXF0, 2) if group == 0 else (_RXF0 + 8, 4)
        filters = fit(filters, places[1])
        mask = 0x1FFFFFFF
        for row in filters:
            mask &= row[1]
        extended = filters[0][2]
        self._write_id(_RXM0 + 4 * group, mask, extended, 0)
        for n in range(places[1]):
            row = filters[n] if n < len(filters) else filters[0]
            number = n if group == 0 else n + 2
            self._write_id(_RXF0 + 4 * number if number < 3 else _RXF3 + 4 * (number - 3), row[0] & mask, extended, 1)

    def _write_id(self, address, value, extended, is_filter):
        base = value >> 18 if extended else value & 0x7FF
        self._write(address, base >> 3)
        low = (base & 7) << 5
        if extended:
            low |= (value >> 16) & 3
            if is_filter:
                low |= _EXTENDED
        self._write(address + 1, low)
        self._write(address + 2, (value >> 8) & 0xFF if extended else 0)
        self._write(address + 3, value & 0xFF if extended else 0)

    # ---- the exchange ------------------------------------------------------------------------------------

    def _exchange(self):
        inp = self._in
        before = self._rx[1]
        for _ in range(64):  # more frames than that in one go would starve the rest
            if self._state == self.STATE_STOPPED or not self._read_flags():
                self._state = self.STATE_STOPPED
                return
            waiting = inp[3]
            if not waiting & _RX_INTERRUPTS:
                break
            if waiting & 1:
                self._receive(0)
            if waiting & 2:
                self._receive(1)
        if self._rx[1] != before:
            self._events |= self.IRQ_RX
        if inp[3] & _ERROR_INTERRUPT or inp[4] or self._state != self.STATE_ACTIVE:
            self._look_at_errors(inp[4])
        if self._sending():
            status = self._status()
            for buffer in range(self._BUFFERS):
                if self._in_buffer[buffer] >= 0 and not status & (4 << 2 * buffer):
                    self._left(buffer, not self._read(_TXB0CTRL + 16 * buffer) & _TX_FAILED)
        if self._state != self.STATE_BUS_OFF:
            self._feed()

    def _read_flags(self):
        """CANINTF to _in[3], EFLG to _in[4]; False where CANINTE before and CANSTAT behind them are not as they were set up."""
        inp = self._in
        for _ in range(2):  # what was disturbed on SPI is read once more
            self._out[0] = _READ
            self._out[1] = _CANINTE
            self._transfer(6)
            if inp[2] == _ENABLED and inp[5] & 0xE0 == self._run_mode:
                return True
        return False

    def _sending(self):
        for buffer in range(self._BUFFERS):
            if self._in_buffer[buffer] >= 0:
                return True
        return False

    def _receive(self, buffer):
        self._out[0] = _READ_RX | buffer << 2
        self._transfer(14)
        if not self._room():
            return
        inp = self._in
        tail = self._rx[1]
        at = tail * 10
        info = self._info
        can_id = inp[1] << 3 | inp[2] >> 5
        if inp[2] & _EXTENDED:
            can_id = can_id << 18 | (inp[2] & 3) << 16 | inp[3] << 8 | inp[4]
            remote = inp[5] >> 6 & 1
            info[at] = 2 | remote
        else:
            remote = inp[2] >> 4 & 1
            info[at] = remote
        size = inp[5] & 15
        if size > 8:
            size = 8
        info[at + 1] = size
        for i in range(8):
            info[at + 2 + i] = inp[6 + i] if i < size and not remote else 0
        self._ids[tail] = can_id
        self._rx[1] = (tail + 1) % self._depth

    def _look_at_errors(self, flags):
        """Error counters and states, given EFLG; INT is released."""
        lost = flags & _OVERFLOWS
        if lost:
            # The chip does not say how many: at least one for each buffer's flag.
            self._rx[3] += (lost >> 7) + (lost >> 6 & 1)
            self._rx[4] = 1
            self._modify(_EFLG, lost, 0)
        self._modify(_CANINTF, _ERROR_INTERRUPT, 0)
        self._count_errors()
        self._judge(self._tec, self._rec, flags & _BUS_OFF != 0)
        if self._read_flags() and self._in[3] & _RX_INTERRUPTS:  # came while INT was low already: without an edge
            self._again = True

    def _count_errors(self):
        self._out[0] = _READ
        self._out[1] = _TEC
        self._transfer(4)
        self._tec = self._in[2]
        self._rec = self._in[3]

    def _load(self, buffer, slot):
        out = self._out
        can_id = self._tx_id[slot]
        flags = self._tx_flags[slot]
        size = self._tx_size[slot]
        out[0] = _LOAD_TX | buffer << 1
        if flags & self.FLAG_EXT_ID:
            out[1] = can_id >> 21
            out[2] = (can_id >> 18 & 7) << 5 | _EXTENDED | (can_id >> 16 & 3)
            out[3] = can_id >> 8 & 0xFF
            out[4] = can_id & 0xFF
        else:
            out[1] = can_id >> 3
            out[2] = (can_id & 7) << 5
            out[3] = out[4] = 0
        out[5] = size | (0x40 if flags & self.FLAG_RTR else 0)
        for i in range(size):
            out[6 + i] = self._tx_data[8 * slot + i]
        self._transfer(6 + size)
        self._command(_SEND | 1 << buffer)

    def _abort(self, buffer):
        self._modify(_TXB0CTRL + 16 * buffer, _TXREQ, 0)
        return self._read(_TXB0CTRL + 16 * buffer) & (_TXREQ | _TX_FAILED) == _TX_FAILED

    def _recover(self):
        """The chip leaves bus-off by itself after 128 times 11 recessive bits; only the waiting frames go."""
        self._modify(_CANCTRL, 0x10, 0x10)
        self._modify(_CANCTRL, 0x10, 0)
