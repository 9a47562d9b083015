"""The DS3231 clock chip, against an emulation of its registers at the I2C interface."""

from civil import day_number, text_of
from ds3231 import DS3231

from host_tests.both.ds3231chip import Chip


def _set(**fields):
    chip = Chip(**fields)
    chip.regs[0x0F] = 0
    return chip, DS3231(chip)


def test_a_chip_that_lost_the_time_says_none():
    chip = Chip(year=2026)
    assert DS3231(chip).read() is None


def test_a_written_time_is_read_back_and_the_lost_flag_cleared():
    chip = Chip()
    clock = DS3231(chip)
    for day, sec in ((day_number(2026, 11, 22), 35777), (day_number(2028, 2, 29), 86399), (73048, 0), (0, 0)):
        chip.regs[0x0F] |= 0x80
        clock.write(day, sec)
        assert clock.read() == (day, sec)


def test_registers_are_what_the_data_sheet_says():
    chip, clock = _set()
    clock.write(day_number(2026, 11, 22), 9 * 3600 + 56 * 60 + 17)  # a Sunday
    assert bytes(chip.regs[:7]) == b"\x17\x56\x09\x01\x22\x11\x26"
    clock.write(day_number(2126, 12, 31), 0)
    assert chip.regs[5] == 0x92 and chip.regs[6] == 0x26


def test_every_hour_of_a_chip_in_12_hour_mode_is_read():
    chip, clock = _set(year=2026, month=7, mday=4)
    for hour in range(24):
        twelve = hour % 12 or 12
        chip.regs[2] = 0x40 | (0x20 if hour >= 12 else 0) | twelve // 10 << 4 | twelve % 10
        assert clock.read() == (day_number(2026, 7, 4), hour * 3600), hour


def test_registers_that_are_no_date_say_none():
    for place, value in (
        (0, 0x60),
        (0, 0x0A),
        (1, 0x60),
        (2, 0x24),
        (4, 0x00),
        (4, 0x31),
        (5, 0x13),
        (5, 0),
        (6, 0xFF),
    ):
        chip, clock = _set(year=2026, month=11, mday=22)
        chip.regs[place] = value
        assert clock.read() is None, (place, value)


def test_writing_lets_the_chip_run_on_battery_and_keeps_other_control_bits():
    chip, clock = _set()
    chip.regs[0x0E] = 0x9D
    clock.write(9800, 1)
    assert chip.regs[0x0E] == 0x1D


def test_a_missing_chip_is_an_oserror():
    chip, clock = _set()
    chip.present = False
    for call in (clock.read, clock.temperature, lambda: clock.write(9800, 0)):
        try:
            call()
        except OSError:
            continue
        raise AssertionError("no error")


def test_dates_the_chip_cannot_hold_are_refused():
    chip, clock = _set()
    before = bytes(chip.regs)
    for day, sec in ((-1, 0), (73049, 0), (5, 86400)):
        try:
            clock.write(day, sec)
        except ValueError as error:
            assert "2000-01-01 to 2199-12-31" in str(error)
        else:
            raise AssertionError(text_of(day, sec))
    assert bytes(chip.regs) == before


def test_temperature_is_signed_quarters_of_a_degree():
    chip, clock = _set()
    chip.regs[0x11], chip.regs[0x12] = 0x19, 0x40
    assert clock.temperature() == 101
    chip.regs[0x11], chip.regs[0x12] = 0xFF, 0xC0
    assert clock.temperature() == -1
