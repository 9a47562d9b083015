"""Host programs: simulated site and board, build, deploy, measurements."""
