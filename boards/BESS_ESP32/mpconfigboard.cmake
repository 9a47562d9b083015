include(boards/mpconfigboard_esp32_common.cmake)

# The firmware has no use for Bluetooth, whose controller wants RAM and whose code wants flash.
list(REMOVE_ITEM SDKCONFIG_DEFAULTS boards/sdkconfig.ble)

# Where the partition table is depends on where this folder is, and that a sdkconfig file cannot say.
file(WRITE ${CMAKE_BINARY_DIR}/sdkconfig.partitions
    "CONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"${MICROPY_BOARD_DIR}/partitions.csv\"\n")

list(APPEND SDKCONFIG_DEFAULTS
    boards/sdkconfig.240mhz
    ${MICROPY_BOARD_DIR}/sdkconfig.board
    ${CMAKE_BINARY_DIR}/sdkconfig.partitions
)

set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/manifest.py)
