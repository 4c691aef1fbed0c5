# make demo   installs what is needed and scores the bundled encoder on the bundled images
# make test   installs what the tests need (the browser too) and runs them
# make check  lint, types, import contracts
# make docs   writes the generated pages of docs/ again
# make evidence  scores the real encoders of ../shared/data (goes on where it was) and writes docs/evidence
# make evidence-gate  judges the scored encoders against each other and writes docs/evidence/gate.md
# make evidence-finetune  trains every regularizer against its control and writes docs/evidence/finetune.md
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO = out/demo

.PHONY: demo test check docs evidence evidence-gate evidence-finetune fixtures clean

demo: $(VENV)/installed
	$(BIN)/repdiag score fixtures/encoders/simclr.safetensors fixtures/digits --out $(DEMO)
	@echo "The report: $(DEMO)/report.html"

test: $(VENV)/installed-dev
	sh scripts/install_browser.sh
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-dev
	$(BIN)/python scripts/build_docs.py

evidence: $(VENV)/installed
	$(BIN)/python -m benchmarks.evidence.score
	$(BIN)/python -m benchmarks.evidence.judge
	$(BIN)/python -m benchmarks.evidence.tables

evidence-gate: $(VENV)/installed
	$(BIN)/python -m benchmarks.evidence.gate

evidence-finetune: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.evidence.finetune

fixtures: $(VENV)/installed-dev
	$(BIN)/python fixtures/make_fixtures.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "repdiag needs Python 3.11 or newer; name one as in: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,tune]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) out build *.egg-info
