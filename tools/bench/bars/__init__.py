"""The bars a board has to hold at the chip's speed: what is typed and done, what is measured, and what is judged."""
