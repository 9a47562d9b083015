"""The site's devices as the board speaks to them: BMS on CAN, inverter and meter on SunSpec, the wires between."""
