# What is frozen into every image of ours: code and names then stay in flash.  `make image` lays out build/image/frozen first.
# $(BOARD_DIR) is the folder of the board that is built, this one or its neighbour.

# of MicroPython: the block device of the file system, and asyncio
freeze("$(PORT_DIR)/modules", "flashbdev.py")
include("$(MPY_DIR)/extmod/asyncio")

# ours: _boot.py instead of the port's, then boot.py, main.py, firmware/ and what is in lib/
freeze("$(BOARD_DIR)/../BESS_ESP32/modules")
freeze("$(BOARD_DIR)/../../build/image/frozen")
