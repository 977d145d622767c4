# Sets up a fresh Debian or Ubuntu machine that has a Rust toolchain, and runs the commands of the
# README. Each goal sets up what it uses and nothing else. Everything that is downloaded or built goes
# below CACHE, outside the clone.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/atcost
export CARGO_TARGET_DIR ?= $(CACHE)/target

# Where the tests find the broker's jars and the Python that has DuckDB.
KAFKA := $(CACHE)/kafka-4.1.1
VENV  := $(CACHE)/python
# The same for the bench: other engines, and ledgers that were made once.
BENCH_VENV := $(CACHE)/python-bench
export ATCOST_BENCH        ?= $(CACHE)/bench
export ATCOST_BENCH_PYTHON ?= $(BENCH_VENV)/bin/python
export ATCOST_KAFKA_LIBS ?= $(KAFKA)
export ATCOST_PYTHON     ?= $(VENV)/bin/python
# The official FOCUS validator, where a Python is new enough for it; and Spark, which is large.
export ATCOST_FOCUS_VALIDATOR ?= $(CACHE)/focus-validator
SPARK_VENV := $(CACHE)/python-spark

# The build that the tests use, unless PROFILE=release asks for the one people run, which compiles everything once more.
PROFILE ?= dev

# As the tests build it, so that nothing is compiled twice.
BUILD  = cargo build --profile $(PROFILE) --workspace --bins
BUILT  = $(CARGO_TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

.PHONY: help
help: # This list.
	@sed -nE 's/^([a-z-]+):[^#]*# (.*)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

.PHONY: demo
demo: packages # A month of made-up usage, billed at cost, on this machine. Needs no Kafka.
	@$(BUILD)
	$(BUILT)/atcost demo

.PHONY: test
test: packages test-packages $(KAFKA)/.complete $(VENV)/.complete # Every test, with a real Kafka broker and other readers of what is written; PROFILE=release for the build people run.
	@log=$(CACHE)/test.log
	python3 tests/python/focus_validate.py --install
	$(BUILD)
	# The test harness tells how long a test took only to who sets these flags; the compiler itself stays as it is.
	cargo test --profile $(PROFILE) --workspace --tests --config "target.'cfg(unix)'.runner = ['env', 'RUSTC_BOOTSTRAP=1']" \
	    -- -Z unstable-options --report-time 2>&1 | tee "$$log"
	cargo test --profile $(PROFILE) --workspace --doc --quiet
	echo "Slowest tests:"
	sed -nE 's/^test (.*) \.\.\. ok <([0-9.]+)s>$$/\2 s\t\1/p' "$$log" | sort -rn | sed -n 1,10p
	echo "All tests passed in $$SECONDS s."

.PHONY: test-spark
test-spark: packages test-packages $(SPARK_VENV)/.complete # What is exported, as Spark reads it: fetches Spark, half a gigabyte, and closes the month of the tests.
	@$(BUILD)
	case=$$(mktemp -d)
	trap 'rm -rf "$$case"' EXIT
	"$(SPARK_VENV)/bin/python" tests/python/make_close_case.py "$$case"
	"$(SPARK_VENV)/bin/python" tests/python/close_run.py "$$case" $(BUILT)/atcost
	cd "$$case/work"
	"$(SPARK_VENV)/bin/python" "$(CURDIR)/tests/python/readers.py" --spark out runs/period=2025-11

.PHONY: faults
faults: packages test-packages $(KAFKA)/.complete $(VENV)/.complete # Every fault we can produce, for about an hour; writes the figures into docs/reliability.md. `make faults FAULTS="--seed 2"` for others.
	@$(BUILD)
	cargo test --profile $(PROFILE) --workspace --test faults -- --full --write $(FAULTS)

.PHONY: lint
lint: packages # Formatting, clippy, and the dependency rules where cargo-deny is installed.
	@cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; fi

.PHONY: doc
doc: packages # The documentation of all crates as HTML; a link that leads nowhere is an error.
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

.PHONY: bench-ingest
bench-ingest: packages test-packages $(KAFKA)/.complete $(VENV)/.complete # Ingest against a bare consumer, on a topic of 5 million events; EVENTS=N for another size.
	@$(BUILD)
	$(BUILT)/bench ingest $(EVENTS)

.PHONY: bench-commits
bench-commits: packages # How long a commit takes after hundreds and after thousands of them.
	@$(BUILD)
	$(BUILT)/bench commits $(COMMITS)

.PHONY: bench-rate
bench-rate: PROFILE := release
bench-rate: packages test-packages $(BENCH_VENV)/.complete # Rating against DuckDB, ClickHouse and Polars, a month of 20 million events; EVENTS=N for another size, MONTHS=24 with history before it.
	@$(BUILD)
	$(BUILT)/bench rate $(or $(EVENTS),20000000) $(or $(MONTHS),1)

.PHONY: bench-close
bench-close: PROFILE := release
bench-close: packages test-packages $(BENCH_VENV)/.complete # Invoices: a million lines imported and compared, and a closed month corrected, beside DuckDB; LINES=N for another size.
	@$(BUILD)
	$(BUILT)/bench close $(or $(LINES),1000000)

# How long each fuzz target runs.
SECONDS ?= 60

.PHONY: fuzz
fuzz: packages # Looks for inputs that crash a reader, in at most 512 MiB, beginning with the cases. `make fuzz SECONDS=600` takes longer for each.
	@export CARGO_TARGET_DIR=$(CACHE)/fuzz RUSTC_WRAPPER=$(CURDIR)/tests/fuzz/instrument
	# The versions that are shipped, and libFuzzer.
	cp Cargo.lock tests/fuzz/Cargo.lock
	cargo build --manifest-path tests/fuzz/Cargo.toml --release
	"$(CACHE)/fuzz/release/seeds" tests/cases "$(CACHE)/fuzz/seeds"
	for target in tests/fuzz/targets/*.rs; do
	    name=$$(basename "$$target" .rs)
	    mkdir -p "$(CACHE)/fuzz/corpus/$$name" "$(CACHE)/fuzz/found/$$name"
	    echo "$$name"
	    "$(CACHE)/fuzz/release/$$name" "$(CACHE)/fuzz/corpus/$$name" "$(CACHE)/fuzz/seeds/$$name" -max_total_time=$(SECONDS) -timeout=10 \
	        -rss_limit_mb=512 -print_final_stats=1 -artifact_prefix="$(CACHE)/fuzz/found/$$name/" 2>&1 | tee "$(CACHE)/fuzz/$$name.log" | grep -E "^stat::|DONE|ERROR|panicked|Test unit" || true
	    ! grep -qE "ERROR|Test unit written" "$(CACHE)/fuzz/$$name.log" || { echo "$$name found something: see $(CACHE)/fuzz/$$name.log"; exit 1; }
	done

.PHONY: install
install: packages # Builds `atcost` optimised and puts it where cargo puts programs, with its symbols in a file beside it.
	@cargo build --release --locked -p jobs --bin atcost
	built="$(CARGO_TARGET_DIR)/release/atcost"
	bin="$${CARGO_HOME:-$$HOME/.cargo}/bin"
	mkdir -p "$$bin"
	objcopy --only-keep-debug "$$built" "$$bin/atcost.debug"
	objcopy --strip-all --add-gnu-debuglink="$$bin/atcost.debug" "$$built" "$$bin/atcost.part"
	# One that is running goes on as it was.
	mv "$$bin/atcost.part" "$$bin/atcost"
	"$$bin/atcost" --version

# The releases of Debian in which the goals that set up a machine are tried, and where they come from:
# the mirror that this machine's apt uses.
RELEASES ?= bookworm trixie
MIRROR   ?= $(shell apt-get indextargets --format '$$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | sed -n 1p)
BARE     := $(CACHE)/bare

.PHONY: bare
bare: # Tries in a bare Debian 12 and 13 whether a fresh machine gets all that it needs. As root, with debootstrap.
	@[ "$$(id -u)" = 0 ] || { echo "Only root can make a bare Debian and work in it." >&2; exit 2; }
	command -v debootstrap >/dev/null || { echo "Please install what Debian calls: debootstrap" >&2; exit 2; }
	[ -n "$(MIRROR)" ] || { echo "apt knows no mirror of Debian; say one with MIRROR=URL." >&2; exit 2; }
	export RUST="$$(rustc --print sysroot)"
	for release in $(RELEASES); do
	    base=$(BARE)/$$release.base log=$(BARE)/$$release.log
	    export MACHINE=$(BARE)/$$release
	    echo "A bare $$release"
	    if [ ! -e "$$base/.complete" ]; then
	        rm -rf "$$base"
	        mkdir -p "$$base"
	        debootstrap --variant=minbase --include=ca-certificates,make "$$release" "$$base" "$(MIRROR)" >"$$log"
	        touch "$$base/.complete"
	    fi
	    rm -rf "$$MACHINE"
	    cp -a "$$base" "$$MACHINE"
	    cp /etc/resolv.conf "$$MACHINE/etc/resolv.conf"
	    apt-config dump --no-empty | grep -E '^Acquire::(https?::Proxy|Check-)' >"$$MACHINE/etc/apt/apt.conf.d/machine" || true
	    # The mounts are in a namespace of their own, and gone before anything is removed.
	    unshare --mount --fork bash -c "$$TRY_BARE" >"$$log" 2>&1 || { tail "$$log" >&2; exit 1; }
	    rm -rf "$$MACHINE"
	done
	echo "A fresh machine gets all that it needs."

# The goals install what is missing; run again, they find nothing missing and say nothing.
define TRY_BARE
set -eu
mount -t proc proc "$$MACHINE/proc"
mkdir "$$MACHINE/clone" "$$MACHINE/rust"
mount --bind -o ro . "$$MACHINE/clone"
mount --bind -o ro "$$RUST" "$$MACHINE/rust"
set_up="make --silent --no-print-directory --directory=/clone packages test-packages"
inside=(chroot "$$MACHINE" env -i HOME=/ PATH=/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin)
"$${inside[@]}" $$set_up
again=$$("$${inside[@]}" $$set_up 2>&1)
[ -z "$$again" ] || { echo "Something is still missing: $$again" >&2; exit 1; }
endef
export TRY_BARE

.PHONY: clean-cache
clean-cache: # Removes all that these goals downloaded or built.
	@rm -rf "$(CACHE)"

# System packages, only those that are missing. The first list is for building: librdkafka needs a C toolchain, make and OpenSSL's headers.

.PHONY: packages
packages:
	@command -v cargo >/dev/null || { echo "Rust is missing: install rustup, then run make again." >&2; exit 2; }
	missing=()
	for tool in cc c++ make; do command -v $$tool >/dev/null || { missing+=(build-essential); break; }; done
	command -v pkg-config >/dev/null || missing+=(pkg-config)
	command -v mold       >/dev/null || missing+=(mold)
	{ command -v pkg-config >/dev/null && pkg-config --exists openssl; } || missing+=(libssl-dev)
	$(INSTALL_MISSING)

.PHONY: test-packages
test-packages:
	@missing=()
	# Kafka 4 needs Java 17.
	version=$$(java -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' || true)
	[ "$${version:-0}" -ge 17 ] || missing+=(openjdk-21-jre-headless)
	command -v mvn >/dev/null || missing+=(maven)
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
	# Pages are looked at in a browser, and on paper.
	command -v pdftotext >/dev/null || missing+=(poppler-utils)
	command -v chromium >/dev/null || missing+=(chromium)
	$(INSTALL_MISSING)

define INSTALL_MISSING
[ $${#missing[@]} -gt 0 ] || exit 0
# Ubuntu's apt has no Chromium: its tests are skipped there, and say so.
has() { apt-get -s -qq install --no-install-recommends $$1 >/dev/null 2>&1; }
[ "$${missing[*]}" != chromium ] || ! command -v apt-get >/dev/null || has chromium || exit 0
command -v apt-get >/dev/null || { echo "Please install what Debian calls: $${missing[*]}" >&2; exit 2; }
sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo
$$sudo apt-get update -qq
# Debian 12 has Java 17 and no 21. It knows the name all the same, from packages that suggest it, so
# only trying tells.
has openjdk-21-jre-headless || missing=("$${missing[@]/openjdk-21/openjdk-17}")
if [[ " $${missing[*]} " = *" chromium "* ]] && ! has chromium; then
    for place in "$${!missing[@]}"; do [ "$${missing[place]}" != chromium ] || unset "missing[place]"; done
    [ $${#missing[@]} -gt 0 ] || exit 0
fi
echo "Installing $${missing[*]}"
$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}"
endef

# Jars and packages are put together beside their place and moved there whole, so that an interrupted download is not taken for a finished one.

$(KAFKA)/.complete: tests/kafka/pom.xml | test-packages
	@echo "Fetching Kafka's jars"
	rm -rf "$(KAFKA)" "$(KAFKA).part"
	mvn -q -B -Dstyle.color=never -f tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$(KAFKA).part"
	touch "$(KAFKA).part/.complete"
	mv "$(KAFKA).part" "$(KAFKA)"

$(VENV)/.complete: tests/python/requirements.txt | test-packages
	@echo "Fetching DuckDB, deltalake, Polars, pandas and pyarrow"
	$(call FETCH_PYTHON,$(VENV),$<)

$(BENCH_VENV)/.complete: tests/python/requirements-bench.txt | test-packages
	@echo "Fetching DuckDB, ClickHouse and Polars"
	$(call FETCH_PYTHON,$(BENCH_VENV),$<)

$(SPARK_VENV)/.complete: tests/python/requirements-spark.txt | test-packages
	@echo "Fetching Spark"
	$(call FETCH_PYTHON,$(SPARK_VENV),$<)

define FETCH_PYTHON
rm -rf "$(1)"
python3 -m venv "$(1)"
"$(1)/bin/pip" install -q --disable-pip-version-check -r $(2)
touch "$(1)/.complete"
endef
