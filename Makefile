# Each target makes .venv and installs when needed; `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
USER := .venv/.installed
DEV := .venv/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo test kill fuzz soak mutants lint bench docs site release clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: $(USER) ## the six steps on real handwritten digits, offline: a bundle and a report in demo/
	$(BIN)/beholder demo --out demo

test: $(DEV) ## every quick test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not shared and not browser and not slow"

kill: $(DEV) ## SIGKILL at every write and at 500 random moments, signals and failing disks: no run may be lost
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.kill.program points random:500 signals disk

fuzz: $(DEV) ## a million mutated pictures (N=COUNT), from where the last run ended: none may crash, hang, or give false pixels
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.program $(or $(N),1000000)

soak: $(DEV) ## the server at twice its capacity for half an hour (N=SECONDS)
	$(BIN)/python bench/serve.py "" "" 60 0.05 $(or $(N),1800)

mutants: $(DEV) ## faults planted in what measures, splits, tests, loads and learns (N=PATTERN; else 400 of them): which do no tests notice?
	$(PIP) -e ".[dev,mutants]"
	OMP_NUM_THREADS=1 $(BIN)/python bench/mutants.py $(or $(N),--draw 400)

lint: $(DEV) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(if $(N),$(DEV)) ## what each script of bench/ measures; N="decode.py 3" runs one
	@if [ -n "$(N)" ]; then $(BIN)/python bench/$(N); else \
	  for script in $$(grep -l __main__ bench/*.py | grep -v /peer_); do \
	    printf '%-22s %s\n' "$${script#bench/}" "$$(sed -n '1s/"""//gp' "$$script")"; \
	  done; \
	fi

docs: $(DEV) ## the option tables of docs/CLI.md, docs/REFERENCE.md, code in the pages in Chinese, and the figures of docs/figures/
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/chinese.py
	@for script in docs/figures/*.py; do \
	  if [ -e "$$script" ]; then echo "== $$script"; $(BIN)/python "$$script" || exit 1; fi; \
	done

site: $(DEV) ## the documents as a site in site/, offline; every link is looked up
	$(BIN)/python docs/build_site.py

release: $(DEV) ## wheel and sdist, looked into, installed into a clean environment, and the demo run from there (N=--borrow: no network)
	case "$(N)" in *--borrow*) ;; *) $(PIP) -e ".[dev,release]" ;; esac
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.release.program $(N)

clean: ## remove .venv, caches and what the demo wrote
	rm -rf .venv demo site build .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(USER): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: Beholder needs Python 3.11 or newer, and '$(PYTHON)' is not" >&2; echo >&2; \
	  echo "hint: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' || [ "$$(uname -s)" != Linux ] || \
	  command -v nvidia-smi >/dev/null || [ -e /proc/driver/nvidia/version ] || \
	  echo "note: no NVIDIA driver here: the CPU builds of $$(grep -E '^torch(vision)?==' constraints.txt | tr '\n' ' ')save 4 GB;" \
	    "to have them, stop this, install both into .venv as https://pytorch.org/get-started/locally/ shows, and call make again" >&2
	$(PIP) -e .
	@touch $@

$(DEV): $(USER)
	$(PIP) -e ".[dev]"
	@touch $@
