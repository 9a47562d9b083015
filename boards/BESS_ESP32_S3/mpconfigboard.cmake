include(boards/mpconfigboard_esp32s3_common.cmake)
# as MicroPython's ESP32_GENERIC_S3 in its variant SPIRAM_OCT, without Wi-Fi's channel state, which nobody reads here
list(APPEND SDKCONFIG_DEFAULTS
    boards/sdkconfig.flash_qio_80m
    boards/sdkconfig.240mhz
    boards/sdkconfig.spiram_oct
)
include(${MICROPY_BOARD_DIR}/../BESS_ESP32/own.cmake)
