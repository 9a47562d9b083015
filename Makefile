# What one types.  `make` alone lists it.  Every target sets up what it needs by itself.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PY := .venv/bin/python
STAMP := .cache/setup.stamp
ARGS ?=
BOARD ?= generic_esp32
SITE ?= site.json
# Compiled host code stays out of the tree, which is the board's, and is compiled once: every worker and tool is a process of its own.
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.cache/pycache
# As they were typed: make would take a $ in them for a name of its own.
override WIFI_SSID := $(value WIFI_SSID)
override WIFI_PASSWORD := $(value WIFI_PASSWORD)
export WIFI_SSID WIFI_PASSWORD

# Board code, checked against the ESP32 stubs.
BOARD_CODE := $(wildcard boot.py main.py) firmware lib

.PHONY: help setup lock run test check lint slots format size bench chip mpy image flash deploy soak clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements.lock tools/setup_host.py tools/debian_bundle.py tools/sim/board/chip/pace.c
	@python3 tools/setup_host.py

setup: $(STAMP) ## fetch the pinned tools and both MicroPython interpreters (done by itself when needed)

lock: ## choose the transitive versions again and write requirements.lock
	@python3 tools/setup_host.py --lock

run: $(STAMP) ## the firmware against a simulated site (ARGS="--seconds 30 --headless --json")
	@$(PY) -m tools.run $(ARGS)

test: $(STAMP) ## every test
	@$(PY) -m tools.run_tests all $(ARGS)

check: $(STAMP) ## lint and the fast tests, under a minute
	@$(PY) -m tools.run_tests lint fast $(ARGS)

lint: $(STAMP) ## ruff and mypy, board code against the ESP32 stubs
	@$(PY) -m tools.run_tests lint $(ARGS)

slots: ## copy the slot numbers of image.py that the kernels use into them
	@python3 -m tools.build.slots

format: $(STAMP) ## sort imports and fix what ruff can fix
	@.venv/bin/ruff check --fix .

size: $(STAMP) ## heap of every module and of the shipped sites (ARGS=--json; --write keeps the figures in tools/build/sizes.json)
	@$(PY) -m tools.build.size $(ARGS)

bench: $(STAMP) ## speed, one JSON object a line: metric, value, unit (ARGS="name ..." picks)
	@$(PY) -m tools.bench $(ARGS)

chip: $(STAMP) ## the bars at the chip's speed, 20 minutes (ARGS="--profile esp32s3 --seconds 60"; see --help)
	@$(PY) -m tools.bench.chip_bars $(ARGS)

mpy: $(STAMP) ## cross-compile every device file for the ESP32 into build/
	@$(PY) -m tools.build.mpy $(ARGS)

image: $(STAMP) ## the firmware as a ROMFS image and laid out for freezing, in build/image/
	@$(PY) -m tools.build.romfs $(ARGS)
	@$(PY) -m tools.build.frozen

flash: $(STAMP) ## write the board's MicroPython image: PORT=/dev/ttyUSB0 BOARD=... FIRMWARE=file.bin
	@$(PY) -m tools.flash --port "$(PORT)" --firmware "$(FIRMWARE)" --board "$(BOARD)" $(ARGS)

deploy: $(STAMP) ## put the firmware on a board: PORT=... BOARD=generic_esp32 SITE=site.json WIFI_SSID=... WIFI_PASSWORD=...
	@$(PY) -m tools.deploy --port "$(PORT)" --board "$(BOARD)" --site "$(SITE)" $(ARGS)

soak: $(STAMP) ## random faults in virtual time: SEED=... CYCLES=...; the bar: SEEDS=5 CYCLES=1000000
	@$(PY) -m tools.soak $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(CYCLES),--cycles $(CYCLES)) $(ARGS)

clean: ## remove what was built; `make clean ARGS=--all` also the environment and the caches
	@rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache/pycache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	@case "$(ARGS)" in *--all*) rm -rf .venv .cache;; esac
