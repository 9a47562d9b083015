# What every image of ours has in common, whatever its chip: a board's mpconfigboard.cmake includes this after MicroPython's own files.

# The firmware has no use for Bluetooth, whose controller wants RAM and whose code wants flash.
list(REMOVE_ITEM SDKCONFIG_DEFAULTS boards/sdkconfig.ble)

# Where the partition table is depends on where the board's folder is, and that a sdkconfig file cannot say.
file(WRITE ${CMAKE_BINARY_DIR}/sdkconfig.partitions
    "CONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"${MICROPY_BOARD_DIR}/partitions.csv\"\n")

list(APPEND SDKCONFIG_DEFAULTS
    ${CMAKE_CURRENT_LIST_DIR}/sdkconfig.own
    ${MICROPY_BOARD_DIR}/sdkconfig.board
    ${CMAKE_BINARY_DIR}/sdkconfig.partitions
)

set(MICROPY_FROZEN_MANIFEST ${CMAKE_CURRENT_LIST_DIR}/manifest.py)
