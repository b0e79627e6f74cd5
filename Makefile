# Needs python3 (3.11 or newer) and make; installs everything else into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
INSTALL := VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes
export DRIFTLINE_HOME ?= $(CURDIR)/.driftline
export BENTOML_DO_NOT_TRACK = True
export DO_NOT_TRACK = 1

.PHONY: run up test check suite nightly coverage chaos kills format bench accuracy attack compare replay overload many load docs wheels images pytorch s3 mlflow lock ci audit sbom publish release proto clean help

help: ## list the targets
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(UV): requirements/bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Driftline needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	@touch $@

$(VENV)/.run: $(UV) requirements/run.lock pyproject.toml
	@echo "Installing Driftline and its packages (the first time takes a few minutes) ..."
	$(INSTALL) -r requirements/run.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	$(INSTALL) -r requirements/dev.lock
	@touch $@

# The example's home is flights/ below this folder, whatever DRIFTLINE_HOME is in the shell.
run: export DRIFTLINE_HOME = $(CURDIR)/.driftline
run: $(VENV)/.run ## run the whole loop on real flights: serve, replay, drift, alarm, webhook
	$(BIN)/python examples/flights/run.py

up: $(VENV)/.run ## run service and monitor with the registered models
	$(BIN)/driftline up

test: check suite ## run every check and every test

# Tests wait for processes and brokers for about as long as they compute: use one process more than cores.
PROCESSES ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
# Several threads per process would only compete for the cores.
suite: export OMP_NUM_THREADS = 1
suite: export OPENBLAS_NUM_THREADS = 1
suite: $(VENV)/.dev ## run every test and report the code coverage
	$(BIN)/coverage erase
	COVERAGE_PROCESS_START=pyproject.toml $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 50 --cpu-seconds 50 $(ARGS) || $(BIN)/python -m tests.again $$?
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/.dev ## run ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples/flights
	$(BIN)/mypy examples/any_model
	$(BIN)/lint-imports --no-cache

CONVERTERS := $(DRIFTLINE_HOME)/converters
nightly: $(VENV)/.dev ## run every test at full length, including long studies (hours; ARGS=...)
	$(INSTALL) --no-deps --target $(CONVERTERS) -r requirements/converters.lock -r requirements/catboost.lock
	DRIFTLINE_NIGHTLY=1 DRIFTLINE_CONVERTERS=$(CONVERTERS) $(BIN)/python -m pytest --timeout 3600 --durations 50 $(ARGS)
	$(if $(ARGS),,$(MAKE) coverage)

coverage: export DRIFTLINE_TRACE_ALL = 1
coverage: ## report the coverage of all test cases; the suite traces only the first cases of each test
	$(MAKE) suite

chaos: $(VENV)/.dev ## inject faults at full length, with figures (about half an hour)
	DRIFTLINE_NIGHTLY=1 $(BIN)/python -m pytest tests/integration/chaos tests/oracle tests/monitoring/test_killed_at_random.py tests/monitoring/webhooks/test_killed_while_sending.py -s

kills: $(VENV)/.dev ## kill service, monitor and registry writers 50 times during rollouts (about ten minutes)
	DRIFTLINE_NIGHTLY=1 $(BIN)/python -m pytest tests/e2e/test_rollout_killed.py -s

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## measure the cost of a request compared with a bare handler, of an event, and of scoring a window
	$(BIN)/python -m benchmarks.compare --subject small --part servers --no-peers --rounds 3
	$(BIN)/python -m benchmarks.events
	$(BIN)/python -m benchmarks.metrics_cost
	$(BIN)/python -m benchmarks.scoring

load: $(VENV)/.dev ## run a short load test on the running service, or start a service for it (ARGS=...)
	$(BIN)/python -m benchmarks.short_load $(ARGS)

accuracy: $(VENV)/.dev ## measure false alarms and power of the alarms, compared with Evidently's defaults (tens of minutes; ARGS=...)
	$(BIN)/python -W ignore -m benchmarks.accuracy $(ARGS)

overload: $(VENV)/.dev ## send more requests than the service can answer, and measure throughput, refusals and latency
	$(BIN)/python -m benchmarks.overload

attack: $(VENV)/.dev ## attack services on loopback, and measure the effect on honest clients (about six minutes; ARGS="--seconds 2 --workers 1", or ARGS="--mixed" for an hour)
	$(BIN)/python -m benchmarks.attack $(ARGS)

many: $(VENV)/.dev ## measure the cost of hundreds of small models in one worker (ARGS="--models 300")
	$(BIN)/python -m benchmarks.many_models $(ARGS)

replay: $(VENV)/.dev ## replay a full day of ten million predictions (ARGS="--predictions 100000"; 10 GB of disk)
	$(BIN)/python -m benchmarks.replay_day $(ARGS)

compare: $(VENV)/.dev ## compare Driftline with bare handlers, BentoML, MLServer and LitServe on this machine (ARGS=--quick is short)
	$(BIN)/python -m benchmarks.compare $(ARGS)

docs: $(VENV)/.dev ## build the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheels: $(VENV)/.dev ## build the wheels of the client and of the server, in dist/
	for project in . server; do (cd $$project && $(CURDIR)/$(BIN)/hatchling build -t wheel -d $(CURDIR)/dist) || exit 1; done

images: ## build the four images with docker, podman or buildah, and print their sizes (ARGS=--base-from-debian without an image registry)
	$(PYTHON) deploy/build_images.py $(ARGS)

TORCH := $(DRIFTLINE_HOME)/pytorch
pytorch: $(VENV)/.dev ## convert, register and serve PyTorch models (downloads five gigabytes)
	$(PYTHON) -m venv $(TORCH)
	VIRTUAL_ENV=$(TORCH) $(UV) pip install --quiet --require-hashes -r requirements/pytorch.lock
	DRIFTLINE_PYTORCH=$(TORCH)/bin/python $(BIN)/python -m pytest tests/docs/test_converters.py
	DRIFTLINE_CONVERTERS=$$(echo $(TORCH)/lib/python*/site-packages) $(BIN)/python -m pytest -k "PyTorch or page" tests/conformance/test_model_kinds.py

S3 := $(DRIFTLINE_HOME)/s3
s3: $(VENV)/.dev ## test the model file store on an S3 server, in an environment with s3fs
	$(PYTHON) -m venv $(S3)
	VIRTUAL_ENV=$(S3) $(UV) pip install --quiet --require-hashes -r requirements/s3.lock
	DRIFTLINE_S3=$(S3)/bin/python $(BIN)/python -m pytest tests/registry/test_artifact_contract.py

MLFLOW := $(DRIFTLINE_HOME)/mlflow
mlflow: $(VENV)/.dev ## test the import from a real MLflow server, in an environment with MLflow (650 MB)
	$(PYTHON) -m venv $(MLFLOW)
	VIRTUAL_ENV=$(MLFLOW) $(UV) pip install --quiet --require-hashes -r requirements/mlflow.lock
	DRIFTLINE_MLFLOW=$(MLFLOW)/bin/python $(BIN)/python -m pytest tests/driftline/mlflow_import

LOCK := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-package driftline-server --no-annotate --custom-compile-command "make lock"
PEERS := benchmarks/compare/requirements
lock: $(UV) ## renew the pinned versions and hashes
	printf 'uv\nhatchling\n' | $(LOCK) - -c requirements/dev.lock -o requirements/bootstrap.lock
	$(LOCK) --upgrade pyproject.toml --group dev --extra service --extra monitoring --extra loadtests --extra examples --extra extensions --extra oidc --extra mlflow -o requirements/dev.lock
	echo 'hatchling' | $(LOCK) pyproject.toml - --extra examples -c requirements/dev.lock -o requirements/run.lock
	echo 'nannyml' | $(LOCK) --no-deps - -o requirements/golden.lock
	echo 'pip-audit' | $(LOCK) - -o requirements/audit.lock
	printf 'xgboost-cpu\nlightgbm\nonnxmltools\n' | $(LOCK) --no-deps - -o requirements/converters.lock
	printf 'catboost\nsix\ngraphviz\n' | $(LOCK) --no-deps - -o requirements/catboost.lock
	printf 'torch\nonnx\nonnxscript\nnumpy\n' | $(LOCK) - -o requirements/pytorch.lock
	printf 's3fs>=2025.2\nmoto[s3,server]\nmsgspec\n' | $(LOCK) - -o requirements/s3.lock
	printf 'mlflow>=3.8,<4\nonnx\nonnxruntime\nskl2onnx\n' | $(LOCK) - -o requirements/mlflow.lock
	$(LOCK) pyproject.toml --extra service --extra oidc -c requirements/dev.lock -o requirements/service.lock
	$(LOCK) pyproject.toml --extra monitoring --extra oidc -c requirements/dev.lock --overrides requirements/unused.txt -o requirements/monitoring.lock
	$(BIN)/python deploy/dependencies.py
	printf 'bentoml>=1.4.39,<1.5\nonnxruntime\n' | $(LOCK) --upgrade - -o $(PEERS)/bentoml.lock
	printf 'mlserver>=1.7,<1.8\nonnxruntime\n' | $(LOCK) --upgrade - -o $(PEERS)/mlserver.lock
	printf 'litserve>=0.2,<0.3\nonnxruntime\n' | $(LOCK) --upgrade - -o $(PEERS)/litserve.lock

PROTO := service/protocol/open_inference
ci: ## run what continuous integration runs; as root, also install the system packages
	.ci/run

AUDIT := $(DRIFTLINE_HOME)/audit
audit: $(UV) ## check the packages of images and tests for known vulnerabilities (needs the network)
	$(PYTHON) -m venv $(AUDIT)
	VIRTUAL_ENV=$(AUDIT) $(UV) pip install --quiet --require-hashes -r requirements/audit.lock
	for lock in service monitoring dev; do $(AUDIT)/bin/pip-audit --strict --disable-pip --requirement requirements/$$lock.lock || exit 1; done

SBOM ?= $(DRIFTLINE_HOME)/sbom
sbom: $(VENV)/.dev ## write a CycloneDX bill of materials for each image, from the locks (SBOM=folder)
	$(BIN)/python deploy/dependencies.py sbom $(SBOM)

publish: sbom ## push the images, sign them and attest their bills of materials (REGISTRY=host/owner TAG=1.2.3)
	$(PYTHON) deploy/publish_images.py --registry $(REGISTRY) --tag $(TAG) --sbom $(SBOM)

release: wheels docs ## attach the wheels and the documentation to the release of a tag (TAG=v1.2.3; needs gh)
	grep -qx 'version = "$(TAG:v%=%)"' pyproject.toml
	tar -czf "dist/documentation-$(TAG:v%=%).tar.gz" site
	gh release create "$(TAG)" --verify-tag --notes "See CHANGELOG.md." dist/*

proto: $(VENV)/.dev ## generate the gRPC messages, with a separate descriptor pool so that other clients' copies do not conflict
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. $(PROTO).proto
	sed -i 's/_descriptor_pool.Default()/_descriptor_pool.DescriptorPool()/' $(PROTO)_pb2.py

clean: ## remove everything that make installed and built
	rm -rf $(VENV) .driftline .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
