// What no image of ours uses is left out, which leaves RAM and flash to the firmware; a board's mpconfigboard.h includes this.

#define MICROPY_PY_BLUETOOTH        (0)
#define MICROPY_PY_ESPNOW           (0)
#define MICROPY_PY_MACHINE_I2S      (0)
#define MICROPY_PY_MACHINE_SDCARD   (0)
#define MICROPY_HW_ENABLE_SDCARD    (0)

#define MICROPY_PY_NETWORK_HOSTNAME_DEFAULT "battery"
