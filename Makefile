# Every target sets itself up: virtual environment, pinned packages, servers, tables.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
# A Python that is asked for by name has an environment of its own.
VENV := .venv$(if $(filter command environment,$(origin PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
BOT_CODE := $(wildcard persistence/bot/*.py examples/bot/*.py) examples/turn_orchestrator.py
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -n)
# RUNLEVEL: a server that is installed must not start.
APT_INSTALL = $(SUDO) apt-get -q update && $(SUDO) env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -q -y install
COMBATS ?= 500
TIMES ?= 10
SEED ?=
MINUTES ?= 10
SERVERS ?= embedded

# Tests start hundreds of programs: what they import is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo run test coverage test-browser test-api test-json test-amqp test-packages storm matrix attack crashes properties mutants fuzz audit lint docs bench peers wheel lock clean

help:  ## Say what can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(VENV)/installed  ## Settle COMBATS=500 simulated fights and prove every one
	@$(BIN)/python manage.py demo --combats $(COMBATS) $(if $(SEED),--seed $(SEED))

run: $(VENV)/installed  ## The same stack, endless, with admin and Flower
	@$(BIN)/python manage.py run

test: $(VENV)/installed  ## All tests but those in a browser
	$(BIN)/python -m tests $(ARGS)

coverage: $(VENV)/installed-dev  ## The branches that `make test` takes, of every process; slower than it
	$(BIN)/python -m tests --cov --cov-report=term:skip-covered $(ARGS)

test-browser: $(VENV)/installed-dev  ## The admin in a real Chromium, which apt-get installs where it may
	@command -v chromium >/dev/null || { $(APT_INSTALL) chromium; } \
		|| { echo "Chromium is missing. As root: apt-get install chromium"; exit 1; }
	$(BIN)/python -m pytest tests/browser $(ARGS)

test-api: $(VENV)/installed-dev  ## CASES=2000 requests that the API's own description allows, or forbids
	API_CASES=$(or $(CASES),2000) $(BIN)/python -m pytest tests/api $(ARGS)

test-json: $(VENV)/installed-dev  ## Accounts as RedisJSON, on a server that has the type
	@redis-server --version 2>/dev/null | grep -Eq 'v=([7-9]|[1-9][0-9])\.' || { $(APT_INSTALL) redis-server; } \
		|| { echo "Redis 7 or newer is missing. As root: apt-get install redis-server"; exit 1; }
	$(BIN)/python -m pytest tests/integration/test_redis_json.py $(ARGS)

test-amqp: $(VENV)/installed  ## Workers of a RabbitMQ, which apt-get installs where it may
	@command -v rabbitmq-server >/dev/null || { $(APT_INSTALL) rabbitmq-server; } \
		|| { echo "RabbitMQ is missing. As root: apt-get install rabbitmq-server"; exit 1; }
	$(BIN)/python -m pytest tests/chaos/test_rabbitmq.py tests/integration/test_taking_along.py $(ARGS)

test-packages: $(VENV)/installed  ## The wheel beside every Celery, redis-py and aiogram it is for
	$(BIN)/python -m pytest tests/packaging --whole $(ARGS)

storm: $(VENV)/installed  ## MINUTES=10 of everything under faults drawn from a SEED; SERVERS=embedded or debian
	@$(BIN)/python -m tests.storm --minutes $(MINUTES) --servers $(SERVERS) $(if $(SEED),--seed $(SEED)) \
		$(if $(filter-out file,$(origin COMBATS)),--combats $(COMBATS)) \
		$(if $(OPERATIONS),--operations $(OPERATIONS)) $(if $(FAULTS),--faults $(FAULTS)) $(ARGS)

lint: $(VENV)/installed-dev  ## ruff, mypy --strict, what may import what, missing migrations
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy .
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command as lint; lint()'
	bot=$$($(BIN)/python -m tests.packaging.environments bot) \
		&& $(BIN)/python -m mypy --python-executable "$$bot" $(BOT_CODE)
	$(BIN)/python manage.py makemigrations --check --dry-run

matrix: $(VENV)/installed  ## Every cell of the fault matrix: what breaks, at each point of a combat's life
	$(BIN)/python -m pytest tests/chaos/test_fault_matrix.py --soak $(ARGS)

attack: $(VENV)/installed  ## Every attack that docs/operator/security.md names; those on a whole stack HARDER=10 times as hard
	ATTACK_TIMES=$(or $(HARDER),10) $(BIN)/python -m pytest $$($(BIN)/python -m tests.attack) $(ARGS)

crashes: $(VENV)/installed  ## Kill -9 at every operation, and at every one of each recovery
	$(BIN)/python -m pytest tests/chaos/test_crash_points.py --soak --timeout 7200 $(ARGS)

properties: $(VENV)/installed  ## What holds of any input, tried TIMES=10 times as often as by `make test`
	EXAMPLES_TIMES=$(TIMES) $(BIN)/python -m pytest tests/unit tests/integration -m hypothesis --timeout 7200 $(ARGS)

docs: $(VENV)/installed-dev  ## The documentation's site, strictly: reference up to date, no dead link
	$(BIN)/python -m docs.generate --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/installed  ## Measure against the bare ceiling and the naive task
	@$(BIN)/python -m benchmarks $(ARGS)

peers: .venv-peers/installed .venv-peers-arq/installed  ## What others would pick, for `make bench ARGS=--peers`

mutants: $(VENV)/installed-dev  ## Change the core on purpose; show what no test notices (an hour)
	@$(BIN)/python -m tests.mutants $(ARGS)

fuzz: $(VENV)/installed  ## Messages (ENVELOPES=20000) and documents (PAYLOADS=100000) that nobody should send; SEED=
	@FUZZ_SEED=$(SEED) FUZZ_ENVELOPES=$(or $(ENVELOPES),20000) FUZZ_PAYLOADS=$(or $(PAYLOADS),100000) \
		$(BIN)/python -m pytest -q --no-header tests/integration/test_fuzz.py

audit: $(VENV)/installed  ## Known weaknesses of what the image holds; says so where nobody can be asked
	@told=$$($(BIN)/python -m uv tool run --from pip-audit==2.10.1 pip-audit \
			--strict --disable-pip --require-hashes -r requirements-server.lock 2>&1) \
		&& echo "$$told" || case "$$told" in \
			*"known vulnerabilit"*) echo "$$told"; exit 1;; \
			*) echo "Not audited, nobody could be asked:"; echo "$$told" | tail -n 1;; esac

wheel: $(VENV)/installed  ## The package, into dist/
	$(BIN)/python -m hatchling build --target wheel

# Options with "=": Renovate reads them out of the files and runs the same.
LOCK = $(BIN)/python -m uv pip compile --quiet --universal --generate-hashes --python-version=3.11
lock: $(VENV)/installed  ## Pin what the requirements pull in, with hashes; keeps what is pinned (ARGS=--upgrade: not)
	$(LOCK) $(ARGS) --output-file=requirements.lock requirements.txt
	$(LOCK) $(ARGS) --output-file=requirements-dev.lock --constraint=requirements.lock requirements-dev.txt
	$(LOCK) $(ARGS) --output-file=requirements-server.lock --constraint=requirements.lock --extra=server pyproject.toml

clean:  ## Remove the virtual environments and the embedded servers' data
	@test ! -x $(BIN)/python || $(BIN)/python -c 'from pathlib import Path; \
		from devservers import stop; stop(Path(".data"))'
	rm -rf .venv* .data dist

$(VENV)/installed: requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: Python 3.11 or newer is needed."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

.venv-peers/installed: benchmarks/requirements.txt
.venv-peers-arq/installed: benchmarks/requirements-arq.txt
.venv-peers/installed .venv-peers-arq/installed:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
