# make demo   set up and run E1 on the embedded world; ends with the path of its report
# make test   set up and pass every check
# make bench  set up and run the trainer's bench
# make bench-scan          the hedging scanner against its peers
# make bench-store         the activation store against plain files and its peers
# make bench-probe         probe fitting against scikit-learn and NumPy
# make bench-truth         truth probes across topics on a real small model, where DATA and MODELS hold them
# make bench-scan-quality  the shipped lexicon against people's labels, where DATA holds them

PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml Cargo.toml $(shell find rust -name '*.rs' -o -name '*.toml')

# Thin LTO: nearly the speed of a release build in a fraction of its time.
export MATURIN_PEP517_ARGS := --profile thin
# Tests and benches train small models: one thread a process, or they oversubscribe the cores.
test bench: export OMP_NUM_THREADS := 1
test bench: export TOKENIZERS_PARALLELISM := false
# The same code gets the same verdict, as with hypothesis in tests/conftest.py.
test: export PROPTEST_RNG_SEED := 1

DATA ?= ../shared/data
MODELS ?= ../shared/models

.PHONY: demo test bench bench-scan bench-store bench-probe bench-truth bench-scan-quality tools clean

demo: .venv/.installed
	$(BIN)/valueattr run e1 --preset tiny --seeds 1 --out runs/demo
	@echo 'To type valueattr yourself: . .venv/bin/activate'

test: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cargo fmt --check
	cargo clippy --profile thin --workspace --all-targets -- -D warnings
	cargo test --profile thin --package valueattr-core --quiet
	$(BIN)/python -m pytest

bench: .venv/.installed
	$(BIN)/python benches/bench_trainer.py

bench-scan: .venv/.installed
	$(BIN)/maturin develop --release --extras bench
	$(BIN)/python benches/bench_scan.py
	cargo bench --package valueattr-core --bench scan

bench-store: .venv/.installed
	$(BIN)/maturin develop --release --extras bench,train
	taskset -c 0 $(BIN)/python benches/bench_store.py

bench-probe: .venv/.installed
	$(BIN)/maturin develop --release
	$(BIN)/python benches/bench_probe.py

bench-truth: .venv/.installed
	$(BIN)/python benches/bench_truth.py $(DATA) $(MODELS)

bench-scan-quality: .venv/.installed
	$(BIN)/python benches/bench_scan_quality.py $(DATA)

tools:
	@command -v $(PYTHON) >/dev/null || { echo "valueattr needs Python 3.11 or later: install python3 and python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "valueattr needs Python 3.11 or later; $(PYTHON) is older: install one and give it as PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv: install python3-venv" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "valueattr builds its compiled part with cargo: install Rust 1.89 or later (rustup)" >&2; exit 1; }

.venv/.installed: $(SOURCES) | tools
	@echo "setting up .venv: Python packages (torch is the large one) and the compiled part"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[train,dev]'
	touch $@

clean:
	rm -rf .venv target runs
