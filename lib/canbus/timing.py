"""CAN bit timing: the prescaler and segments that come nearest to a bit rate and a sample point."""


def solve(clock_hz, bitrate, sample_point, tseg1, tseg2, prescalers, tseg1_most=16, tseg2_least=1):
    """Return (prescaler, tseg1, tseg2) for `bitrate` (bit/s) from a clock of `clock_hz`.

    A bit is 1 + tseg1 + tseg2 quanta of prescaler / clock_hz; it is sampled after 1 + tseg1 of them, wanted at
    `sample_point` percent.  `tseg1` and `tseg2` may be given (then both) instead of None.  Preferred, in this
    order: least error of the bit rate, of the sample point, finest quanta.  Raises ValueError when no setting
    comes within 0.5 % of the bit rate, which is about what a CAN node tolerates (ISO 11898-1).
    """
    if (tseg1 is None) != (tseg2 is None):
        raise ValueError("tseg1 %r, tseg2 %r: give both or neither" % (tseg1, tseg2))
    if not 0 < sample_point < 100:
        raise ValueError("sample_point %r: allowed 1 to 99 %%" % sample_point)
    if tseg1 is not None and not (1 <= tseg1 <= tseg1_most and tseg2_least <= tseg2 <= 8):
        raise ValueError("tseg1 %d, tseg2 %d: allowed 1 to %d, %d to 8" % (tseg1, tseg2, tseg1_most, tseg2_least))
    best = None
    for prescaler in prescalers:
        quanta = (clock_hz // prescaler + bitrate // 2) // bitrate
        if tseg1 is not None:
            one, two = tseg1, tseg2
            quanta = 1 + one + two
        else:
            two = max(tseg2_least, min(8, quanta - (quanta * sample_point + 50) // 100))
            one = quanta - 1 - two
            if not 1 <= one <= tseg1_most:
                continue
        error = abs(clock_hz // (prescaler * quanta) - bitrate)
        off = abs(100 * (1 + one) // quanta - sample_point)
        if best is None or (error, off, prescaler) < best[:3]:
            best = (error, off, prescaler, one, two)
    if best is None or best[0] * 200 > bitrate:
        raise ValueError("bitrate %d: this controller's clock of %d Hz cannot make it" % (bitrate, clock_hz))
    return best[2], best[3], best[4]
