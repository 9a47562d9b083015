include(boards/mpconfigboard_esp32_common.cmake)
list(APPEND SDKCONFIG_DEFAULTS boards/sdkconfig.240mhz)
include(${MICROPY_BOARD_DIR}/own.cmake)
