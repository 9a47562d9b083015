"""What `make bench` measures: one file a subject; every function named bench_... yields (metric, value, unit)."""
