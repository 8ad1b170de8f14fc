# What people do here, each as one command. `make` lists them.

TARGET := $(or $(CARGO_TARGET_DIR),target)
VENV := $(TARGET)/clients
NODE_MODULES := tests/clients/node_modules
PROMETHEUS := $(TARGET)/prometheus
DOWNLOAD := apt-get download -q -o APT::Sandbox::User=root
DENY := 0.20.2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help test lint doc unit chaos test-clients test-api test-oauth test-console test-matrix test-deploy test-examples test-aws deny check images demo run soak bench instructions pages fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## everything that CI asks: lint, doc, unit, test-clients, test-api, test-oauth, test-console, test-matrix, test-deploy, test-examples, test-aws, deny; installs what is missing
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory doc
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory test-clients
	@$(MAKE) --no-print-directory test-api
	@$(MAKE) --no-print-directory test-oauth
	@$(MAKE) --no-print-directory test-console
	@$(MAKE) --no-print-directory test-matrix
	@$(MAKE) --no-print-directory test-deploy
	@$(MAKE) --no-print-directory test-examples
	@$(MAKE) --no-print-directory test-aws
	@$(MAKE) --no-print-directory deny
	@echo "make test: all is well"

lint: ## the house's form: rustfmt and clippy; do the fuzz targets compile?
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	cargo check --manifest-path tests/fuzz/Cargo.toml --locked --target-dir $(TARGET)

doc: ## the documentation, private items too, in target/doc
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

unit: ## the tests in Rust
	@$(call need,ls /usr/lib/postgresql/*/bin/initdb || command -v initdb,postgresql)
	@$(call need,ls /usr/sbin/pgbouncer || command -v pgbouncer,pgbouncer)
	@$(call need,command -v nginx || test -x /usr/sbin/nginx,nginx-light)
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --no-fail-fast && cargo test --doc; \
	else \
		cargo test --no-fail-fast; \
	fi

test-clients: $(VENV)/.installed $(NODE_MODULES)/.installed ## curl, requests, httpx, undici and axios through the real program
	@$(call need,command -v curl,curl)
	cargo build --bin keyferry --bin origin
	$(VENV)/bin/python -u tests/clients/run.py $(TARGET)/debug

test-api: $(VENV)/.installed ## the management API by curl, as the reference calls it, and by its own description
	@$(call need,command -v curl,curl)
	cargo build --bin keyferry --bin origin
	$(VENV)/bin/python -u tests/clients/management.py $(TARGET)/debug

test-oauth: $(VENV)/.installed $(NODE_MODULES)/.installed ## OAuth connections, with a certified provider, a browser, and an MCP server and client
	@$(call need,command -v curl,curl)
	@$(call need,command -v chromium,chromium)
	@$(call need,command -v certutil,libnss3-tools)
	cargo build --bin keyferry --bin origin
	$(VENV)/bin/python -u tests/clients/oauth.py $(TARGET)/debug
	$(VENV)/bin/python -u tests/clients/oauth_strict.py $(TARGET)/debug

test-console: $(VENV)/.installed $(NODE_MODULES)/.installed ## the console by a browser, every page narrow and wide, light and dark; pictures in target/console
	@$(call need,command -v curl,curl)
	@$(call need,command -v chromium,chromium)
	@$(call need,command -v certutil,libnss3-tools)
	cargo build --bin keyferry --bin origin
	$(VENV)/bin/python -u tests/clients/console.py $(TARGET)/debug

images: test-console ## the pictures of the documentation, as test-console has taken them
	cp $(TARGET)/console/console-connections.png $(TARGET)/console/console-activity.png docs/images/

test-matrix: $(VENV)/.installed $(NODE_MODULES)/.installed ## clients of every kind through intercepted tunnels
	@$(call need,command -v curl && command -v wget && command -v git && command -v openssl,curl wget git openssl)
	@$(call need,command -v go,golang-go)
	@$(call need,command -v javac,default-jdk-headless)
	@$(call need,command -v ruby,ruby)
	@$(call need,perl -MLWP::Protocol::https -e 1,libwww-perl liblwp-protocol-https-perl)
	@$(call need,command -v php && php -r 'exit(extension_loaded("curl") ? 0 : 1);',php-cli php-curl)
	@$(call need,command -v hg,mercurial)
	@$(call need,command -v chromium,chromium)
	@$(call need,command -v certutil && command -v certtool,libnss3-tools gnutls-bin)
	cargo build --bin keyferry --bin origin
	$(VENV)/bin/python -u tests/clients/matrix.py $(TARGET)/debug

test-deploy: $(VENV)/.installed $(NODE_MODULES)/.installed $(PROMETHEUS)/.installed ## what is in deploy/, by the schemas of those who read it; its alerts and dashboard in a real Prometheus
	@$(call need,command -v systemd-analyze,systemd)
	@$(call need,command -v openssl,openssl)
	cargo build --bin keyferry --bin origin
	$(VENV)/bin/python -u tests/clients/deploy.py $(TARGET)/debug
	$(VENV)/bin/python -u tests/clients/monitoring.py $(TARGET)/debug $(PROMETHEUS)

test-aws: $(VENV)/.installed ## boto3 and the AWS CLI with placeholder keys, to an origin that makes each signature again
	cargo build --bin keyferry --bin origin
	$(VENV)/bin/python -u tests/clients/aws.py $(TARGET)/debug

test-examples: $(VENV)/.installed $(NODE_MODULES)/.installed ## the flow runner and the runners; each command that the documentation shows
	@$(call need,command -v curl && command -v openssl,curl openssl)
	cargo build --bin keyferry --bin origin
	$(VENV)/bin/python -u tests/clients/flow.py $(TARGET)/debug
	$(VENV)/bin/python -u tests/clients/docs.py $(TARGET)/debug

deny: ## licenses, bans and sources of everything that is linked
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked --debug cargo-deny@$(DENY)
	cargo deny check bans licenses sources

check: ## a quick look while writing: does it compile?
	cargo check --all-targets

demo: ## the whole story on this machine alone: what is sent, what arrives, what is refused
	cargo build --bin keyferry --bin origin
	@$(call need,command -v curl,curl)
	@examples/demo.sh $(TARGET)/debug

run: ## the proxy with config/example.toml
	cargo run --release -- serve --config config/example.toml

soak: ## ten minutes of tokens that end, at two instances: 200 connections, then 100 bodies of 2 MiB a second; none may fail
	SOAK=60,200,240 cargo test --test it -- --nocapture no_request_fails_while_tokens_come_and_go
	LIFETIMES=30,10,100 cargo test --release --test it -- --nocapture ten_lives_of_zendesks_tokens_pass_without_a_401

chaos: ## some minutes of instances that are killed and paused, and of failovers; says what was lost
	@$(call need,ls /usr/lib/postgresql/*/bin/initdb || command -v initdb,postgresql)
	CHAOS=90 timeout 600 cargo test --test it chaos:: -- --nocapture --test-threads 1

bench: ## speed: against nginx, HAProxy and a bare pipe, then the decision alone
	cargo bench

instructions: $(VENV)/.installed ## what a request costs in instructions, on six paths; KEEP=--keep keeps it as what it may cost
	@$(call need,command -v callgrind_control,valgrind)
	cargo build --release --bin keyferry
	cargo build --bin origin
	$(VENV)/bin/python -u tests/clients/instructions.py $(TARGET)/release $(TARGET)/debug $(KEEP)

pages: ## the time of every page and answer with 10,000 connections and 1,000,000 entries; fails above 200 ms
	@$(call need,ls /usr/lib/postgresql/*/bin/initdb || command -v initdb,postgresql)
	KEYFERRY_MILLION=1 cargo test --release --test it -- --nocapture --test-threads 1 a_million every_page_is_there

fuzz: ## a minute of fuzzing for each target
	tests/fuzz/run.sh

clean: ## removes all that was built or installed here
	cargo clean
	rm -rf $(VENV) $(NODE_MODULES) $(PROMETHEUS)

$(VENV)/.installed: tests/clients/requirements.txt
	@$(call need,python3 -c "import ensurepip",python3 python3-venv)
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(NODE_MODULES)/.installed: tests/clients/package.json tests/clients/package-lock.json
	@$(call need,command -v node,nodejs)
	@$(call need,command -v npm,npm)
	cd tests/clients && npm ci --no-audit --no-fund
	@touch $@

# Debian's package starts a service where it is installed; so its programs are only taken out of it.
$(PROMETHEUS)/.installed:
	@rm -rf $(@D) && mkdir -p $(@D)
	@if command -v prometheus >/dev/null && command -v promtool >/dev/null; then \
		ln -s "$$(command -v prometheus)" "$$(command -v promtool)" $(@D); \
	else \
		cd $(@D) && { $(DOWNLOAD) prometheus || \
			{ apt-get update -q && $(DOWNLOAD) prometheus; }; } && \
		dpkg-deb -x prometheus_*.deb . && mv usr/bin/* . && rm -r usr etc lib var prometheus_*.deb; \
	fi || { echo "prometheus is missing: install prometheus" >&2; exit 1; }
	@touch $@

# What a check finds missing, out of Debian's packages; who may not install is told what to do.
need = $(1) >/dev/null 2>&1 || { \
	[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	apt-get update -q && apt-get install -qy --no-install-recommends $(2); } || \
	{ echo "$(firstword $(2)) is missing: install $(2)" >&2; exit 1; }
