# What there is to make; `make` alone prints this list.
#
# Every target makes the virtual environment it needs. Servers: those of DATABASE_URL and REDIS_URL when set, else
# embedded ones from the wheels. Nothing needs root, Docker or a running server.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Compiled files are kept, whatever this shell says: without them every command takes half a second longer to start.
# They are made when they are first used, not at installation: most of what is installed never is.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo migrate rollback status test check proofs contract schema lint types format sync chaos bench bench-upgrade bench-warm clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## make the virtual environment

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is too old: Python 3.11 or newer is needed; say which with make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,dev]'
	@touch $@

demo: $(STAMP)  ## migrate an embedded server, replay a made-up trading history, show what came of it
	@$(BIN)/nexgent-db demo

migrate: $(STAMP)  ## apply all pending migrations
	@$(BIN)/nexgent-db migrate

rollback: $(STAMP)  ## undo the last migration
	@$(BIN)/nexgent-db rollback

status: $(STAMP)  ## list the migrations, applied and pending
	@$(BIN)/nexgent-db status || [ $$? = 2 ]

test: $(STAMP)  ## run all tests, on embedded servers
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: lint types proofs  ## everything that must be green besides the tests; --jobs 2 takes half the time

proofs: $(STAMP)  ## generated files are fresh, and every query is right
	$(BIN)/python -m tests.support.protocols --check
	$(BIN)/python -m tests.support.async_to_sync --check
	$(BIN)/nexgent-db check --plans
	$(BIN)/nexgent-db check --offline
	$(BIN)/nexgent-db schema --check

contract: $(STAMP)  ## prove every query against PostgreSQL and write sql/contract.json
	$(BIN)/nexgent-db check --plans --write

schema: $(STAMP)  ## write sql/schema.sql: what all migrations make, in one file to read
	$(BIN)/nexgent-db schema --out sql/schema.sql

lint: $(STAMP)  ## style of the code and of the SQL
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/sqlfluff lint --disable-progress-bar $(filter-out sql/schema.sql,$(wildcard sql/*.sql)) migrations
	$(BIN)/nexgent-db lint-migrations

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

format: $(STAMP)  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

sync: $(STAMP)  ## write the Protocols, nexgent_db/sync and its tests from the asynchronous sources
	$(BIN)/python -m tests.support.protocols
	$(BIN)/python -m tests.support.async_to_sync

chaos: $(STAMP)  ## for ten minutes, threads, killed processes and a machine try to catch the cache lying; MINUTES=60 for longer
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10)

bench: $(STAMP)  ## measure against bare psycopg and pgbench; prints ratios
	$(BIN)/python -m tests.benchmarks

bench-upgrade: $(STAMP)  ## migrate 5 million transactions while clients trade, print how long these waited (15 to 40 minutes)
	$(BIN)/python -m tests.benchmarks.upgrade

bench-warm: $(STAMP)  ## fill a cache from a million rows and compare all of it: rows/s, memory (ten minutes)
	$(BIN)/python -m tests.benchmarks.warm

clean:  ## remove what the targets above made, the embedded server's data aside
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
	find nexgent_db tests -name __pycache__ -prune -exec rm -rf {} +
