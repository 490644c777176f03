# demo and test install what they need and say what. ARGS passes flags on, as in: make demo SECONDS=20 ARGS='--data .tally'
CARGO ?= cargo
# what `cargo clippy -- -D warnings` sets, around a build and not a check: the crates that are not ours are then those of the tests
CLIPPY := RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__
# most tests wait for servers more than they compute: on few cores half as many again, if nobody says otherwise
TESTS_AT_ONCE := $(if $(filter 1 2,$(shell nproc 2>/dev/null)),RUST_TEST_THREADS=$${RUST_TEST_THREADS:-3})
.DEFAULT_GOAL := help
.PHONY: demo test photographs faults fuzz soak bench profile lint engine assets build help

demo: build ## the main job on the embedded default: SECONDS=N, ARGS='--data DIR --port P --rate N --seed N --json FILE'
	@$(CARGO) run -q -p tally-pipeline -- demo $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

test: assets ## all tests, on real Kafka and the real ClickHouse engine; T=name for some
	@sh sinks/engine/system.sh
	@sh tests/setup/install.sh
	$(TESTS_AT_ONCE) $(CARGO) test --workspace -- $(T)

photographs: assets ## every page at both widths in both themes, eight with nothing there or nobody to answer, and all in Chinese, into .cache/photographs
	@sh sinks/engine/system.sh
	@sh tests/setup/install.sh
	TALLY_PHOTOGRAPHS_WHOLE=1 $(CARGO) test -p tally-pipeline -p tally-tests --test integration -- pages::photographs pages::states pages::chinese

faults: assets ## 100,000 simulated lives of the lanes, then seeded faults on real servers, then 100,000 calls through a gateway that is killed: SEEDS=N FROM=N AT_ONCE=N; SEED=N replays one, LIFE=N a simulated one
	@sh sinks/engine/system.sh
	@sh tests/setup/install.sh
ifdef LIFE
	TALLY_SIM_SEED=$(LIFE) $(CARGO) test --release -p tally-pipeline -p tally-tests --lib -- --nocapture lane::simulation::seeded
else
ifndef SEED
	TALLY_SIM_SEEDS=100000 $(CARGO) test --release -p tally-pipeline -p tally-tests --lib -- lane::simulation
endif
	TALLY_FAULTS_SEED=$(SEED) TALLY_FAULTS_SEEDS=$(or $(SEEDS),20) TALLY_FAULTS_FROM=$(or $(FROM),1) TALLY_FAULTS_AT_ONCE=$(AT_ONCE) \
		$(CARGO) test --release -p tally-pipeline -p tally-tests --test integration -- --ignored --nocapture faults::seeds_balance
ifndef SEED
	$(CARGO) test --release -p tally-pipeline -p tally-tests --test integration -- --ignored --nocapture faults::planted
	$(CARGO) test --release -p tally-pipeline -p tally-tests --test integration -- --ignored --nocapture gateway::killed
endif
endif

bench: assets ## figures of the README, in release: reading, and draining beside others, through real Kafka; TALLY_BENCH_EVENTS=N TALLY_BENCH_ROUNDS=N
	@sh tests/setup/install.sh
	@sh tests/setup/bench.sh
	$(CARGO) test --release -p tally-pipeline -p tally-tests --test integration -- --ignored --nocapture --test-threads 1 bench_

profile: assets ## where the CPU time of a drain goes, by stages, and a flame graph, into .cache/bench; needs perf
	@sh tests/setup/install.sh
	@sh tests/setup/profile.sh

fuzz: assets ## hostile bytes for what reads them: SECONDS=N a target (60); what they found of use is kept in tests/fuzz/corpora and schemas/fuzz/corpora
	@sh sinks/engine/system.sh
	TALLY_FUZZ_SECONDS=$(or $(SECONDS),60) TALLY_FUZZ_KEEP=1 $(CARGO) test --workspace --lib -- fuzz
	@sh tests/setup/fuzz.sh $(or $(SECONDS),60)

soak: engine assets ## an hour at 20,000 events/s with faults, then three times what can be taken: SECONDS=N, TALLY_SOAK_RATE=N
	@sh tests/setup/install.sh
	TALLY_SOAK_SECONDS=$(or $(SECONDS),3600) $(CARGO) test --release -p tally-pipeline -p tally-tests --test integration -- --ignored --nocapture soak

lint: assets ## formatting, clippy with warnings as errors, and licences, sources and (where their database can be fetched) advisories of all crates
	@sh sinks/engine/system.sh
	$(CARGO) fmt --all --check
	$(CLIPPY) $(CARGO) build --workspace --all-targets
	@bin=$$(sh tests/setup/tool.sh cargo-deny) && "$$bin/cargo-deny" check licenses sources bans
	@sh tests/setup/advisories.sh

engine: ## fetches the embedded ClickHouse engine through npm, once
	@sh sinks/engine/system.sh
	@sh sinks/engine/install.sh

assets: ## fetches what the pages load that is not ours (uPlot) through npm, once
	@sh sinks/engine/system.sh
	@sh dashboards/npm/install.sh

build: engine assets
	$(CARGO) build -p tally-pipeline

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
