// An ESP32 without PSRAM that does nothing but manage a battery: what it does not use leaves RAM and flash to the firmware.

#define MICROPY_HW_BOARD_NAME       "Battery power manager"
#define MICROPY_HW_MCU_NAME         "ESP32"

#define MICROPY_PY_BLUETOOTH        (0)
#define MICROPY_PY_ESPNOW           (0)
#define MICROPY_PY_MACHINE_I2S      (0)
#define MICROPY_PY_MACHINE_SDCARD   (0)
#define MICROPY_HW_ENABLE_SDCARD    (0)

#define MICROPY_PY_NETWORK_HOSTNAME_DEFAULT "battery"
