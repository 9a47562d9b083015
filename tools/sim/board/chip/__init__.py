"""The chip's clock for the simulated board: the 32-bit interpreter, held to a chip's instructions a second.  See docs/chip.md."""
