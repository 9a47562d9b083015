"""What the console has between itself and its serial port: the line or program being typed, the text on its way out, the port.

The line begins in a small buffer made at boot and grows with what is typed, to a bound; the words that must work in a full
heap need no more than it has.  Who types is told by how lines end: programs end them with a line feed and get no echo; Enter on a
terminal is a carriage return, and keys come with pauses between them: a person gets echo and a prompt.
"""

import select
import sys
import time

from micropython import const

LINE_MAX = const(1024)  # bytes of a line; a longer one is refused whole
PIECE = const(112)  # bytes sent at a time: what a UART of 115200 baud sends in 10 ms
_FIRST = const(128)  # bytes of a line without more heap
_PROGRAM = const(2048)  # bytes that are kept for the next program: a piece of a file that mpremote copies has some 1,000
_OUT = const(2048)  # bytes of output that may wait: more than any line of the monitor
_REFUSED_MAX = const(200)  # turns of the loop: 2 to 4 s
_READ_US = const(5000)  # reading for longer than this goes on in the next turn
_AT_ONCE = const(16)  # letters between two looks at the clock
_QUIET_MS = const(20)  # without a key for so long: what is there is not the first half of a program's line
_EMERGENCY = const((b"pm.emergency_shutdown()", b"emergency_shutdown()", b"emergency()", b"emergency"))
_EDITS = const(0x08A14A76)  # bit n: control character n edits: A B D E F I (Tab) K N P U W and escape

# what has been typed, as `read` tells it
NOTHING = const(0)
RAW = const(1)  # Ctrl-A: programs instead of lines
FRIENDLY = const(2)  # Ctrl-B: lines again
BROKEN = const(3)  # Ctrl-C in a program
END = const(4)  # Ctrl-D without a line
LINE = const(10)  # ended by a line feed
ENTER = const(13)
KEY = const(27)  # `key` edits, and the editor is not loaded
PASTE = const(40)  # a program is to be pasted
CODE = const(64)  # a program's end
PASTED = const(65)  # the same, pasted
EMERGENCY = const(66)  # a line of a program that is not to wait for its end

TOO_LONG = const(1)
NO_HEAP = const(2)


class Terminal:
    """`read` and `take` for what is typed; `put`, `finish` or `take_back`, and `drain` for output."""

    def __init__(self, port) -> None:
        """port: a Port, or what is like one."""
        self._port = port
        self._small = bytearray(_FIRST)
        self.line = self._small  # or a larger one, for as long as it is needed: what is taken again lies amid what is free
        self.length = 0
        self.cursor = 0
        self.mark = 0  # where the line begins in which an emergency word is looked for
        self.over = 0  # TOO_LONG or NO_HEAP: what has been typed is refused
        self.key = 0
        self.editor = None  # keys.Editor, from the first key on that edits
        self.raw = None  # rawrepl.RawRepl while programs are read
        self.person = False  # somebody types here: echo and prompt
        self.changed = False  # since it was shown
        self.touched_ms = time.ticks_ms()
        self._out = bytearray(_OUT)
        self._view = memoryview(self._out)
        self._first = 0  # of the bytes that may be sent,
        self._last = 0  # behind the last of them,
        self._end = 0  # and behind those that belong to an unfinished line
        self._refused = 0  # pieces in a row that the port did not take
        self.lost = 0  # bytes thrown away because of that

    # ---- in ---------------------------------------------------------------------------------------------

    def read(self) -> int:
        """Take in what has been typed, until something is complete: what it is, else NOTHING."""
        started = time.ticks_us()
        port = self._port
        count = found = 0
        plain = self._is_plain()
        while not found:
            length = self.length
            if plain and length < len(self.line):  # most bytes are letters, and are only to be added
                end = min(length + _AT_ONCE, len(self.line))
                last = port.letters(self.line, length, end)
                self.length = self.cursor = last
                count += last - length
                if last == end and last > length:
                    if time.ticks_diff(time.ticks_us(), started) > _READ_US:
                        break
                    continue
            code = port.read()
            if code < 0:
                break
            count += 1
            found = self._press(code) if self.raw is None else self.raw.press(code)
            plain = self._is_plain()
            if time.ticks_diff(time.ticks_us(), started) > _READ_US:
                break
        if count:
            self.touched_ms = time.ticks_ms()
            self.changed = True
            if self.raw is not None and found != PASTE:
                self.raw.count(count)
        return found

    def _is_plain(self) -> bool:
        """Whether a letter is only to be added."""
        if self.over:
            return False
        return self.raw is not None or (self.cursor == self.length and (self.editor is None or not self.editor.waits))

    def _press(self, code: int) -> int:
        """A key while lines are typed."""
        editor = self.editor
        if code in (LINE, ENTER):
            if editor is not None:
                editor.ended()
            if code == LINE and not (self.length or self.over):  # or the second half of Enter's
                return NOTHING
            self.person = code == ENTER
            return code
        if editor is not None and editor.waits:
            return editor.press(self, code)
        if code == BROKEN:
            self.clear()
            self.changed = True
        elif editor is not None and self.cursor < self.length and (code >= 32 or code == 8):
            return editor.press(self, code)
        elif code in (8, 127):
            self._take_back_letter()
        elif code >= 32:
            self.changed = True
            self.add(code)
        elif code in (RAW, FRIENDLY, END) and not (self.length or self.over):
            return code
        elif _EDITS >> code & 1:
            if editor is None:
                self.key = code
                return KEY
            return editor.press(self, code)
        return NOTHING

    def _take_back_letter(self) -> None:
        """The last letter, all bytes of it."""
        length = self.length
        while length and self.line[length - 1] & 0xC0 == 0x80:
            length -= 1
        self.length = self.cursor = max(0, length - 1)
        self.changed = True

    def add(self, code: int, most: int = LINE_MAX) -> bool:
        """Add a byte at the end, of so many; False, and why is in `over`, when there is no space for it."""
        length = self.length
        if self.over or (length == len(self.line) and not self._grow(most)):
            return False
        self.line[length] = code
        self.length = self.cursor = length + 1
        return True

    def _grow(self, most: int) -> bool:
        size = len(self.line)
        if size >= most:
            self.over = TOO_LONG
            return False
        try:
            larger = bytearray(min(2 * size, most))
        except MemoryError:
            self.over = NO_HEAP
            return False
        larger[:size] = self.line
        self.line = larger
        return True

    def says(self, words: tuple = _EMERGENCY) -> bool:
        """Whether the line is one of these words, in capitals or not, spaces around it aside.  Allocates nothing."""
        line = self.line
        start = self.mark
        end = self.length
        if self.over and self.raw is None:
            return False
        while start < end and line[start] <= 32:
            start += 1
        while start < end and line[end - 1] <= 32:
            end -= 1
        for n in range(len(words)):
            if len(words[n]) == end - start and self._is(words[n], start):
                return True
        return False

    def _is(self, word: bytes, start: int) -> bool:
        line = self.line
        for i in range(len(word)):
            code = line[start + i]
            if 65 <= code <= 90:
                code += 32
            if code != word[i]:
                return False
        return True

    def take(self):
        """What is complete, as bytes."""
        line = bytes(memoryview(self.line)[: self.length])
        self.clear()
        return line

    def clear(self) -> None:
        """Forget what has been typed."""
        self.length = self.cursor = self.mark = 0
        self.over = 0
        if self.raw is None or len(self.line) > _PROGRAM:
            self.line = self._small

    def quiet(self) -> bool:
        """Whether nobody has pressed a key for a moment."""
        return time.ticks_diff(time.ticks_ms(), self.touched_ms) >= _QUIET_MS

    # ---- out --------------------------------------------------------------------------------------------

    def space(self) -> int:
        """How many bytes `put` takes now."""
        return _OUT - self._end

    @property
    def waiting(self) -> int:
        """Bytes not yet sent."""
        return self._end - self._first

    def put(self, text) -> bool:
        """Add text, or bytes, to the line under way; False, and nothing is added, where it does not fit."""
        data = text.encode() if isinstance(text, str) else text
        end = self._end + len(data)
        if end > _OUT:
            return False
        self._out[self._end : end] = data
        self._end = end
        return True

    def put_byte(self, code: int) -> bool:
        """Add one byte, which may be sent; False where there is no space.  Allocates nothing."""
        if self._end == _OUT:
            return False
        self._out[self._end] = code
        self._end += 1
        self._last = self._end
        return True

    def finish(self) -> None:
        """What has been put may be sent."""
        self._last = self._end

    def take_back(self) -> None:
        """What has been put since `finish` never was."""
        self._end = self._last

    def drain(self) -> None:
        """Send one piece, if the port takes it; what a host does not take for seconds is thrown away: nobody reads it."""
        count = min(PIECE, self._last - self._first)
        if count:
            sent = self._port.write(self._view[self._first : self._first + count])
            self._first += sent
            self._refused = 0 if sent else self._refused + 1
            if self._refused > _REFUSED_MAX:
                self.lost += self._last - self._first
                self._first = self._last
        if self._first == self._end:
            self._first = self._last = self._end = 0


class Port:
    """stdin and stdout as the interpreter gives them: one byte in, some bytes out, and neither waits.

    A read of more than one byte waits on a chip until all have come.  A write waits while a USB host takes nothing; what the
    port says about being writable is asked first (a UART always says yes: its pace is PIECE).  No method allocates once all
    have been called.
    """

    def __init__(self) -> None:
        self._byte = bytearray(1)
        self._held = -1  # what ended the letters, for read()
        self._readable = select.poll()
        self._readable.register(sys.stdin, select.POLLIN)
        self._ipoll = self._readable.ipoll
        self._readinto = sys.stdin.buffer.readinto
        self._writable = select.poll()
        self._writable.register(sys.stdout, select.POLLOUT)

    def letters(self, line, at: int, end: int) -> int:
        """Put letters that were typed into a line, from `at` on and not beyond `end`; where they end.

        A third of what read() takes for each: most bytes are letters, and a file that is copied has many.
        """
        code = self._held
        if code >= 0:
            return at
        ipoll = self._ipoll
        readinto = self._readinto
        byte = self._byte
        try:
            while at < end:
                code = -1
                for _ in ipoll(0):
                    if readinto(byte):
                        code = byte[0]
                if code < 32 or code >= 127:
                    break
                line[at] = code
                at += 1
                code = -1
        except OSError:
            code = -1  # read() will meet it too
        self._held = code
        return at

    def read(self) -> int:
        """The next byte that was typed; -1 when there is none."""
        code = self._held
        if code >= 0:
            self._held = -1
            return code
        for _ in self._ipoll(0):
            try:
                if self._readinto(self._byte):
                    return self._byte[0]
            except OSError:
                pass
            self._readable.unregister(sys.stdin)  # nobody is there any more
        return -1

    def write(self, data) -> int:
        """Hand over bytes, if the port takes any now; how many it took."""
        for _ in self._writable.ipoll(0):
            return sys.stdout.buffer.write(data) or 0
        return 0
