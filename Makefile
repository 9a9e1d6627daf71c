# `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.
PYTHON ?= $(firstword $(shell command -v python3.11) python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Where pip finds the CPU build of PyTorch, when it isn't configured to find it already:
# the address of PyTorch's own CPU wheel index.
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input --no-deps
STEP := sh deploy/step.sh
# How many processes run tests. Each starts servers of its own.
TEST_PROCESSES ?= 2
# Threads that wait for one without a processor spin: what is computed in two takes several times as long beside others.
ONE_THREAD := OMP_NUM_THREADS=1

.PHONY: help run observe test test-fast deploy-tools checkov leaks sbom audit bench-events bench-recommend load performance check format docs rules dashboards demo-model demo-embedder \
	recording screenshots lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

run: $(INSTALLED) ## start everything with the demo world, on 127.0.0.1:8000
	@$(BIN)/tastestream up --demo

observe: ## start Prometheus with our rules beside `make run`, on 127.0.0.1:9090
	@sh deploy/prometheus/observe.sh

test: $(INSTALLED) ## run all tests (they start their own Redis and vLLM servers)
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(TEST_PROCESSES) $(PYTEST_ARGS)

# One or two folders or files of each package that are quick and fail early when something is broken.
FAST := tests/test_floors.py tests/test_pages.py $(addprefix tests/model_store/,data prompts registry test_*.py) \
	$(addprefix tests/service/,cli/test_help.py client/test_[cs]*.py local users events/test_endpoints.py) \
	$(addprefix tests/service/recommend/,test_blend.py test_filters.py) \
	tests/service/state/test_events.py tests/workers/test_backoff.py
test-fast: $(INSTALLED) ## run a selection of tests in less than a minute, without vLLM
	$(ONE_THREAD) $(BIN)/python -m pytest -x -m "not vllm" $(wildcard $(FAST)) $(PYTEST_ARGS)

check: $(INSTALLED) ## ruff with bandit's rules, mypy --strict, licences of the locked packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python deploy/licences.py

format: $(INSTALLED) ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

BENCH ?= accept cost latency memory bursts calls folds freshness catch_up import_items
bench-events: $(INSTALLED) ## measure speed and size (about 20 minutes; BENCH=accept: one alone)
	@for name in $(BENCH); do $(BIN)/python -m tests.benchmarks.$$name $(BENCH_ARGS) || exit; done

bench-recommend: $(INSTALLED) ## measure /recommend against the model alone (10 minutes; MODEL=70m: a larger model)
	$(BIN)/python -m tests.benchmarks.recommend --model $(or $(MODEL),demo) $(BENCH_ARGS)

load: $(INSTALLED) ## overload and faults against a real Redis and real vLLM; fails if a claim does not hold (15 minutes)
	$(BIN)/python -m tests.benchmarks.load $(LOAD_ARGS)

performance: $(INSTALLED) ## measure what docs/performance.md shows, and write it there (30 minutes; ARGS=accept: one alone)
	$(BIN)/python -m tests.benchmarks.document $(ARGS)

docs: $(INSTALLED) ## write docs/settings.md and docs/metrics.md from their declarations
	$(BIN)/python -m service.reference

rules: $(INSTALLED) ## write the Prometheus rules of the objectives
	$(BIN)/python deploy/prometheus/generate.py

dashboards: $(INSTALLED) ## write the Grafana dashboards
	$(BIN)/python -m deploy.grafana.generate

demo-model: $(INSTALLED) ## rebuild the demo world's model from its seed (30 minutes to an hour; ARGS="--steps 500" for a trial)
	$(BIN)/python -m model_store.demo.build $(ARGS)

demo-embedder: $(INSTALLED) ## rebuild the demo world's embedder from its seed (5 minutes)
	$(BIN)/python -m model_store.demo.embedder $(ARGS)

recording: $(INSTALLED) ## record the demo for the README (3 minutes; needs port 8000)
	$(BIN)/python -m tests.recording

screenshots: $(INSTALLED) ## draw the dashboards from a real run, for docs/operating (10 minutes; needs prometheus)
	$(BIN)/python -m tests.observe

$(INSTALLED): deploy/locks/cpu.txt pyproject.toml
	@$(STEP) "making $(VENV)" $(PYTHON) -m venv $(VENV)
	@$(STEP) "installing PyTorch for CPUs (about 190 MB)" $(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0+cpu \
		|| { echo "PyTorch's CPU build was not found. Run: make $(MAKECMDGOALS) TORCH_INDEX=<address of PyTorch's CPU wheel index>"; exit 1; }
	@$(STEP) "installing the locked packages (about 2.5 GB on disk)" $(PIP) --require-hashes -r deploy/locks/cpu.txt
	@$(STEP) "installing tastestream" $(PIP) --no-build-isolation -e .
	@touch $@

deploy-tools: $(INSTALLED) ## install the linters of images, compose files and chart; their tests are skipped without
	@$(STEP) "installing the deployment's linters" $(PIP) --require-hashes -r deploy/locks/deploy.txt

# checkov pins packages that differ from ours, hence an environment of its own (290 MB).
CHECKOV := .venv-checkov
checkov: deploy-tools ## check the rendered chart and the Dockerfiles with checkov
	@test -x $(CHECKOV)/bin/checkov || { $(STEP) "making $(CHECKOV)" $(PYTHON) -m venv $(CHECKOV) && $(STEP) "installing checkov" \
		$(CHECKOV)/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --require-hashes -r deploy/locks/checkov.txt; }
	$(BIN)/python -m pytest tests/deploy/test_checkov.py

leaks: deploy-tools ## look for secrets in the files that git tracks, and for keys in every line that was ever committed
	$(BIN)/python deploy/secret_scan.py tree
	$(BIN)/python deploy/secret_scan.py history

sbom: $(INSTALLED) ## write what the locks hold as CycloneDX documents to dist/sbom
	@mkdir -p dist/sbom
	@for lock in base build cpu demo deploy; do $(BIN)/python deploy/sbom.py $$lock > dist/sbom/$$lock.cdx.json || exit; done
	@ls dist/sbom/*.cdx.json

# pip-audit pins packages that differ from ours, pip among them. It asks a database in the network; CI is offline.
AUDIT := .venv-audit
audit: ## look up known vulnerabilities of the locked packages (needs api.osv.dev)
	@test -x $(AUDIT)/bin/pip-audit || { $(STEP) "making $(AUDIT)" $(PYTHON) -m venv $(AUDIT) && $(STEP) "installing pip-audit" \
		$(AUDIT)/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --require-hashes -r deploy/locks/audit.txt; }
	@sh deploy/audit.sh $(AUDIT)/bin base build demo deploy

COMPILE := uv pip compile --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

lock: ## resolve the dependencies anew (needs uv)
	$(COMPILE) pyproject.toml --extra cpu --extra finetune --extra evaluate --extra dev --extra tracing --extra qdrant --override deploy/locks/overrides-cpu.txt --no-emit-package torch \
		--output-file deploy/locks/cpu.txt
	$(COMPILE) pyproject.toml --extra tracing --extra qdrant --constraint deploy/locks/cpu.txt --output-file deploy/locks/base.txt
	echo hatchling | $(COMPILE) - --constraint deploy/locks/cpu.txt --output-file deploy/locks/build.txt
	$(COMPILE) pyproject.toml --extra cpu --override deploy/locks/overrides-cpu.txt --constraint deploy/locks/cpu.txt \
		--no-emit-package torch --output-file deploy/locks/demo.txt
	echo checkov | $(COMPILE) - --output-file deploy/locks/checkov.txt
	echo pip-audit | $(COMPILE) - --output-file deploy/locks/audit.txt
	$(COMPILE) pyproject.toml --extra deploy --constraint deploy/locks/cpu.txt --output-file deploy/locks/deploy.txt

clean: ## remove the environment and the demo's data
	rm -rf $(VENV) $(CHECKOV) $(AUDIT) .tastestream
