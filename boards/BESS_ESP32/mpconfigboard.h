// An ESP32 without PSRAM that does nothing but manage a battery.

#define MICROPY_HW_BOARD_NAME       "Battery power manager"
#define MICROPY_HW_MCU_NAME         "ESP32"

#include "own.h"
