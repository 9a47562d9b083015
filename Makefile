# What one types.  `make` alone lists it.  Every target sets up what it needs by itself.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PY := .venv/bin/python
STAMP := .cache/setup.stamp
ARGS ?=
BOARD ?=
SITE ?= site.json
# of make flash: the site file, where there is one; --keep leaves the board's own
WITH_SITE = $(if $(findstring --keep,$(ARGS)),,$(if $(wildcard $(SITE)),--site "$(SITE)"))
# Compiled host code stays out of the tree, which is the board's, and is compiled once: every worker and tool is a process of its own.
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.cache/pycache
# Also where the machine is told to keep none in its folders: else each process
# compiles every file again, 6 s of 9 until a worker has its tests.
export PYTHONDONTWRITEBYTECODE :=
# As they were typed: make would take a $ in them for a name of its own.
override WIFI_SSID := $(value WIFI_SSID)
override WIFI_PASSWORD := $(value WIFI_PASSWORD)
export WIFI_SSID WIFI_PASSWORD

# Board code, checked against the ESP32 stubs.
BOARD_CODE := $(wildcard boot.py main.py) firmware lib

.PHONY: help setup lock run test check lint slots format size bench chip hands mpy image flash deploy commission logs sbom soak kills mqtt page clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

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
	@python3 -m tools.generate.gen_ems_can

format: $(STAMP) ## sort imports and fix what ruff can fix
	@.venv/bin/ruff check --fix .

size: $(STAMP) ## heap of every module and of the shipped sites (ARGS=--json; --write keeps the figures in tools/build/sizes.json)
	@$(PY) -m tools.build.size $(ARGS)

bench: $(STAMP) ## speed, one JSON object a line: metric, value, unit (ARGS="name ..." picks)
	@$(PY) -m tools.bench $(ARGS)

chip: $(STAMP) ## the bars at the chip's speed, 20 minutes (ARGS="--profile esp32s3 --seconds 60"; see --help)
	@$(PY) -m tools.bench.chip_bars $(ARGS)

hands: $(STAMP) ## real mpremote at a board at the chip's speed, 500 calls and copies (ARGS="--profile own-image")
	@$(PY) -m tools.bench.chip_bars --story hands --profile esp32s3 $(ARGS)

mpy: $(STAMP) ## cross-compile every device file for the ESP32 into build/
	@$(PY) -m tools.build.mpy $(ARGS)

image: $(STAMP) ## the firmware as a ROMFS image and laid out for freezing, in build/image/; with FIRMWARE=file.bin one file for all of a flash
ifneq ($(SIM),)
	@$(PY) -m tools.sim.board.appimage $(if $(CHIP),--chip "$(CHIP)") $(ARGS)
else ifeq ($(FIRMWARE),)
	@$(PY) -m tools.build.romfs $(ARGS)
	@$(PY) -m tools.build.frozen
else
	@mkdir -p build/image
	@$(PY) -m tools.flash --into build/image/$(notdir $(BOARD)).bin --firmware "$(FIRMWARE)" --board "$(BOARD)" $(WITH_SITE) $(ARGS)
endif

flash: $(STAMP) ## write MicroPython, firmware and site: PORT=/dev/ttyUSB0 BOARD=... FIRMWARE=file.bin SITE=site.json
	@$(PY) -m tools.flash --port "$(PORT)" --firmware "$(FIRMWARE)" --board "$(BOARD)" $(WITH_SITE) $(ARGS)

deploy: $(STAMP) ## put the firmware on a board: PORT=... BOARD=... SITE=site.json WIFI_SSID=... WIFI_PASSWORD=...
	@$(PY) -m tools.deploy --port "$(PORT)" --board "$(BOARD)" --site "$(SITE)" $(ARGS)

logs: $(STAMP) ## pull a board's logs and draw a day of them: PORT=... or SIM=1, into build/logs
	@$(PY) -m tools.logs --port "$(PORT)" $(if $(SIM),--sim) $(ARGS)

sbom: $(STAMP) ## the bill of materials (CycloneDX) in build/sbom.cdx.json; IMAGE=file.bin: with what is flashed
	@$(PY) -m tools.sbom $(if $(IMAGE),--image "$(IMAGE)") $(ARGS)

commission: $(STAMP) ## walk the checklist on the live system and sign it off: PORT=/dev/ttyUSB0, or SIM=1; VERIFY=report.html (docs/commissioning.md)
	@$(PY) -m tools.commission $(if $(SIM),--sim) $(if $(PORT),--port "$(PORT)") $(if $(VERIFY),--verify "$(VERIFY)") $(ARGS)

soak: $(STAMP) ## random faults in virtual time: SEED=... CYCLES=...; the bar: SEEDS=5 CYCLES=1000000
	@$(PY) -m tools.soak $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(CYCLES),--cycles $(CYCLES)) $(ARGS)

kills: $(STAMP) ## deploys killed at random points, 300 (ARGS="--kills 300 --firmware --seed 1")
	@$(PY) -m tools.soak.deploys $(ARGS)

mqtt: $(STAMP) ## MQTT's bars: a real Home Assistant (fetched, 500 MB), and a broker killed 50 times (ARGS="--kills 10 --without-ha")
	@$(PY) -m tools.mqtt.bar $(ARGS)

page: $(STAMP) ## the operator's page in a real Chromium against make run, 2 minutes (ARGS=--docs renews the pictures of docs/page)
	@$(PY) -m tools.page $(ARGS)

clean: ## remove what was built; `make clean ARGS=--all` also the environment and the caches
	@rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache/pycache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	@case "$(ARGS)" in *--all*) rm -rf .venv .cache;; esac
