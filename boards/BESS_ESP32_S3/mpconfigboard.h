// An ESP32-S3 with octal PSRAM that does nothing but manage a battery.

#define MICROPY_HW_BOARD_NAME       "Battery power manager S3"
#define MICROPY_HW_MCU_NAME         "ESP32-S3"

// as MicroPython's ESP32_GENERIC_S3: the console answers on USB and, where a board leads it out, on UART 0
#define MICROPY_HW_ENABLE_UART_REPL (1)

#include "../BESS_ESP32/own.h"
