# Every target sets itself up: virtual environment, pinned packages, servers, tables.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
BOT_VENV := .venv-bot
BOT_CODE := $(wildcard persistence/bot/*.py) $(wildcard examples/*.py examples/*/*.py)
ENGINE_VENV := .venv-engine
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -n)
# RUNLEVEL: a server that is installed must not start.
APT_INSTALL = $(SUDO) apt-get -q update && $(SUDO) env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -q -y install
COMBATS ?= 500
SEED ?=
MINUTES ?= 10
SERVERS ?= embedded

.DEFAULT_GOAL := help
.PHONY: help demo run test test-browser test-json storm matrix mutants fuzz lint docs bench clean

help:  ## Say what can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(VENV)/installed  ## Settle COMBATS=500 simulated fights and prove every one
	@$(BIN)/python manage.py demo --combats $(COMBATS) $(if $(SEED),--seed $(SEED))

run: $(VENV)/installed  ## The same stack, endless, with admin and Flower
	@$(BIN)/python manage.py run

test: $(VENV)/installed $(ENGINE_VENV)/installed $(BOT_VENV)/installed  ## All tests but those in a browser
	$(BIN)/python -m tests $(ARGS)

test-browser: $(VENV)/installed-browser  ## The admin in a real Chromium, which apt-get installs where it may
	@command -v chromium >/dev/null || { $(APT_INSTALL) chromium; } \
		|| { echo "Chromium is missing. As root: apt-get install chromium"; exit 1; }
	$(BIN)/python -m pytest tests/browser $(ARGS)

test-json: $(VENV)/installed-json  ## Accounts as RedisJSON, on a server that has the type
	@redis-server --version 2>/dev/null | grep -Eq 'v=([7-9]|[1-9][0-9])\.' || { $(APT_INSTALL) redis-server; } \
		|| { echo "Redis 7 or newer is missing. As root: apt-get install redis-server"; exit 1; }
	$(BIN)/python -m pytest tests/integration/test_redis_json.py $(ARGS)

storm: $(VENV)/installed  ## MINUTES=10 of everything under faults drawn from a SEED; SERVERS=embedded or debian
	@$(BIN)/python -m tests.storm --minutes $(MINUTES) --servers $(SERVERS) $(if $(SEED),--seed $(SEED)) \
		$(if $(filter-out file,$(origin COMBATS)),--combats $(COMBATS)) \
		$(if $(OPERATIONS),--operations $(OPERATIONS)) $(if $(FAULTS),--faults $(FAULTS)) $(ARGS)

lint: $(VENV)/installed-dev $(BOT_VENV)/installed  ## ruff, mypy --strict, missing migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy .
	$(BIN)/python -m mypy --python-executable $(BOT_VENV)/bin/python $(BOT_CODE)
	$(BIN)/python manage.py makemigrations --check --dry-run

matrix: $(VENV)/installed $(ENGINE_VENV)/installed  ## Every cell of the fault matrix: what breaks, at each point of a combat's life
	$(BIN)/python -m pytest tests/chaos/test_fault_matrix.py --soak $(ARGS)

docs: $(VENV)/installed-docs  ## The documentation's site, strictly: reference up to date, no dead link
	$(BIN)/python -m docs.generate --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/installed  ## Measure against the bare ceiling and the naive task
	@$(BIN)/python -m benchmarks $(ARGS)

mutants: $(VENV)/installed-dev  ## Change the core on purpose; show what no test notices (hours)
	@$(BIN)/python -m tests.mutants $(ARGS)

fuzz: $(VENV)/installed  ## Messages (ENVELOPES=20000) and documents (PAYLOADS=100000) that nobody should send; SEED=
	@FUZZ_SEED=$(SEED) FUZZ_ENVELOPES=$(or $(ENVELOPES),20000) FUZZ_PAYLOADS=$(or $(PAYLOADS),100000) \
		$(BIN)/python -m pytest -q --no-header tests/integration/test_fuzz.py

clean:  ## Remove the virtual environment and the embedded servers' data
	@test ! -x $(BIN)/python || $(BIN)/python -c 'from pathlib import Path; \
		from devservers import stop; stop(Path(".data"))'
	rm -rf $(VENV) $(ENGINE_VENV) $(BOT_VENV) .data

$(VENV)/installed: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: Python 3.11 or newer is needed."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-browser: $(VENV)/installed requirements-browser.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-browser.txt
	@touch $@

$(VENV)/installed-json: $(VENV)/installed requirements-json.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-json.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed-browser requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed requirements-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

# The engine is another program, with pins of its own and no Django.
$(ENGINE_VENV)/installed: requirements-engine.txt $(VENV)/installed
	$(BIN)/python -m venv $(ENGINE_VENV)
	$(ENGINE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-engine.txt
	@touch $@

# The bot is another program: aiogram wants an older pydantic than requirements.txt has.
$(BOT_VENV)/installed: requirements-bot.txt $(VENV)/installed
	$(BIN)/python -m venv $(BOT_VENV)
	$(BOT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bot.txt
	@touch $@
