# make demo   distill the handwritten digits, train on the result, look at it
# make test   all checks, with a seeded sample of the long suites
# make soak   the long suites whole
# make package  sdist and wheel, checked as package indices and users do
# make site   the documentation as a site, in site/

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
unexport PYTHONDONTWRITEBYTECODE  # what pip leaves uncompiled is compiled once, not in each process

.PHONY: demo test soak package site clean

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	sh scripts/demo $(BIN)

test: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/check

soak: $(READY)
	D3DATA_SOAK=1 PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/check

package: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[package]'
	PYTHON="$(CURDIR)/$(BIN)/python" sh scripts/package

site: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/python -m mkdocs build --strict

clean:
	rm -rf runs dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
