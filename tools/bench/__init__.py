"""How fast: benches at the laptop's speed, the bars at the chip's."""
