# What there is to make; `make` alone prints this list.
#
# Every target makes the virtual environment it needs. Servers: those of DATABASE_URL and REDIS_URL when set, else
# embedded ones from the wheels. Nothing needs root, Docker or a running server.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
POSTGRES_BIN ?= /usr/lib/postgresql/15/bin
DATABASE_TESTS := tests/contract tests/integration/aio \
    $(patsubst %,tests/integration/test_%.py,migrations legacy_migrations schema roles errors indexes) \
    $(patsubst %,tests/integration/test_%.py,trade_reads trade_coverage trade_failpoints pooler)
PARTITIONED_TESTS := $(patsubst %,tests/integration/sync/test_%.py,trades execute_many figures performance write_off \
    lists balance_snapshots trade_requests wallet_address sales_up_to_dust tenants) \
    $(patsubst %,tests/integration/test_%.py,trade_functions trade_reads cli_ledger user_logins)
# All but what ends, freezes or counts sessions of PostgreSQL, which a pooler keeps apart from its clients, and what has
# servers of its own (replicas; test_replicas_pooled puts poolers before them).
NOT_POOLED := cache_after_commit cache_races connection graceful_end pool pool_outages replicas
POOLER_TESTS := $(filter-out $(patsubst %,tests/integration/aio/test_%.py,$(NOT_POOLED)), \
    $(sort $(wildcard tests/integration/aio/test_*.py)))
# Compiled files are kept, whatever this shell says: without them every command takes half a second longer to start.
# They are made when they are first used, not at installation: most of what is installed never is.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo migrate rollback status test test-oldest test-partitioned test-pooler test-pythons check docs proofs lint types format contract schema errors sync constraints picture chaos failpoints mutations fuzz race bench bench-upgrade bench-warm clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## make the virtual environment

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is too old: Python 3.11 or newer is needed; say which with make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement constraints.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

constraints: $(STAMP)  ## write constraints.txt: every package with its version and hashes; UPGRADE=--upgrade for newer ones
	$(BIN)/python -m tests.codegen.constraints $(UPGRADE)

demo: $(STAMP)  ## migrate an embedded server, replay a made-up trading history, show what came of it
	@$(BIN)/nexgent-db demo

migrate: $(STAMP)  ## apply all pending migrations
	@$(BIN)/nexgent-db migrate --no-require-url

rollback: $(STAMP)  ## undo the last migration
	@$(BIN)/nexgent-db rollback --no-require-url

status: $(STAMP)  ## list the migrations, applied and pending
	@$(BIN)/nexgent-db status || [ $$? = 2 ]

test: $(STAMP)  ## run all tests, on embedded servers
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-oldest: $(STAMP)  ## what talks to the database, on PostgreSQL 15 as Debian installs it; POSTGRES_BIN= for another
	TESTS_POSTGRES_BIN=$(POSTGRES_BIN) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(DATABASE_TESTS)

test-partitioned: $(STAMP)  ## trades, repositories and their checks, with the growing tables in partitions
	TESTS_PARTITIONED=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PARTITIONED_TESTS)

test-pooler: $(STAMP)  ## what calls the database, through PgBouncer in transaction mode
	@# Not those that end a session by its number (a pooler gives its clients numbers of their own), nor the one that
	@# counts prepared statements: PgBouncer keeps none before 1.22.
	TESTS_POOLER=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(POOLER_TESTS) \
	    -k "not lost_connection and not lost_server and not failed_commit_has_event and not prepared_once_for_each_cell"

test-pythons: $(STAMP)  ## cancel and fork on Python 3.12, 3.13 and 3.14, where there, and with uvloop; PYTHONS=3.13 for one
	$(BIN)/python -m tests.support.pythons $(PYTHONS)

check: lint types proofs docs  ## everything that must be green besides the tests; --jobs 2 takes half the time

errors: $(STAMP)  ## write the table of docs/pages/reference/errors.md from the docstrings
	$(BIN)/python -m tests.codegen.error_table

lint: $(STAMP)  ## style of the code and of the SQL
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/sqlfluff lint --disable-progress-bar $(filter-out sql/schema.sql,$(wildcard sql/*.sql)) migrations
	$(BIN)/nexgent-db lint-migrations

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

proofs: $(STAMP)  ## generated files are fresh, and every query is right
	$(BIN)/python -m tests.codegen.protocols --check
	$(BIN)/python -m tests.codegen.async_to_sync --check
	$(BIN)/python -m tests.codegen.error_table --check
	$(BIN)/nexgent-db check --plans
	$(BIN)/nexgent-db check --offline
	$(BIN)/nexgent-db --project tests/examples/service check --offline
	$(BIN)/nexgent-db schema --check

docs: $(STAMP)  ## build the site into build/site; a warning or a broken link is an error
	@# (With --quiet, mkdocs does not count warnings.)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/mkdocs.yml

format: $(STAMP)  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

contract: $(STAMP)  ## prove every query against PostgreSQL and write sql/contract.json
	$(BIN)/nexgent-db check --plans --write
	$(BIN)/nexgent-db --project tests/examples/service check --plans --write

schema: $(STAMP)  ## write sql/schema.sql: what all migrations make, in one file to read
	$(BIN)/nexgent-db schema --out sql/schema.sql

sync: $(STAMP)  ## write the Protocols, nexgent_db/sync and its tests from the asynchronous sources
	$(BIN)/python -m tests.codegen.protocols
	$(BIN)/python -m tests.codegen.async_to_sync

picture: $(STAMP)  ## write docs/pages/assets/demo.svg: what make demo shows
	$(BIN)/python -m tests.codegen.demo_picture

chaos: $(STAMP)  ## kill, cut, freeze and cancel everything while trades go on (one to three hours); CHAOS="--only trades"
	$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(CHAOS)

failpoints: $(STAMP)  ## end the backend at each visit of each statement of each kind of trade, send again (a quarter of an hour)
	TESTS_EVERY_FAILPOINT=1 $(BIN)/python -m pytest -s tests/integration/test_trade_failpoints.py

mutations: $(STAMP)  ## plant bugs that cost money in a copy of the tree: which test catches each (half an hour); MUTATIONS=cache for some
	$(BIN)/python -m tests.mutations $(MUTATIONS)

fuzz: $(STAMP)  ## almost valid files, cursors, payloads and URLs: typed errors only (ten minutes); FUZZ_EXAMPLES=1000000 for longer
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),5000) $(BIN)/python -m pytest --numprocesses 2 tests/properties/test_fuzz_*.py

race: $(STAMP)  ## measure beside psycopg, asyncpg, SQLAlchemy, aiosql and pgbench; ratios (20 minutes); RACE="--only buy"
	$(BIN)/python -m tests.benchmarks.race $(RACE)

bench: $(STAMP)  ## count round trips, measure trades while Redis is dead and a replay (two minutes)
	$(BIN)/python -m tests.benchmarks

bench-upgrade: $(STAMP)  ## migrate 5 million transactions while clients trade, print how long these waited (15 to 40 minutes)
	$(BIN)/python -m tests.benchmarks.upgrade

bench-warm: $(STAMP)  ## fill a cache from a million rows and compare all of it: rows/s, memory (ten minutes)
	$(BIN)/python -m tests.benchmarks.warm

clean:  ## remove what the targets above made, the embedded server's data aside
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
	find nexgent_db tests -name __pycache__ -prune -exec rm -rf {} +
