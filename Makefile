# The bootstrap: everything a person types. The build itself is meson's (meson.build).
DATA ?= data
LISTEN ?= 127.0.0.1:5000
PREFIX ?= /usr/local
BUILD ?= build
SECONDS_EACH ?= 60
SHELL := /bin/bash
.PHONY: help deps test-deps build run test test-long conformance bench fuzz torture image install clean
help:
	@echo "make run          build and start the hub (DATA=$(DATA) LISTEN=$(LISTEN))"
	@echo "make build        build/berth"
	@echo "make test         every test that CI runs, with what it needs installed"
	@echo "make test-long    what CI leaves out: cosign, the model for longer (an hour)"
	@echo "make install      program, unit, man pages, completions (PREFIX=$(PREFIX) DESTDIR=$(DESTDIR))"
	@echo "make image        an OCI image of Berth, as an archive, without a network"
	@echo "make conformance  OCI_CONFORMANCE=the tool's binary"
	@echo "make bench        side by side with nginx, docker-registry and, with DISTRIBUTION=binary, distribution v3"
	@echo "make fuzz         every fuzzer for SECONDS_EACH=$(SECONDS_EACH)"
	@echo "make torture      10,000 kills and 2,000 power cuts (hours)"
deps:
	@tools/install-packages tools/packages.build
test-deps: deps
	@tools/install-packages tools/packages.build tools/packages.test
bench-deps: deps
	@tools/install-packages tools/packages.build tools/packages.bench
build: deps
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --buildtype=release -Dtests=false --prefix=$(PREFIX) >/dev/null
	@ninja -C $(BUILD)
run: build
	@exec $(BUILD)/berth serve --data "$(DATA)" --listen "$(LISTEN)" > >(tools/run-hints)
test: test-deps
	@tests/run
test-long: test-deps
	@tests/run long-clients long-model long-tsan
conformance: build test-deps
	@BERTH_BIN=$(CURDIR)/$(BUILD)/berth tests/conformance-tool "$(OCI_CONFORMANCE)"
bench: build bench-deps
	@tests/bench/bench.py $(BUILD)/berth $(BUILD)/tests/tools/load $(if $(DISTRIBUTION),--distribution $(DISTRIBUTION)) $(BENCH)
fuzz: test-deps
	@fuzz/run $(SECONDS_EACH)
torture: test-deps
	@tests/fault/torture
image: build
	@tools/make-image --binary $(BUILD)/berth
install: build
	@meson configure $(BUILD) --prefix=$(PREFIX)
	@ninja -C $(BUILD)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild
clean:
	rm -rf build build-test build-faults build-fuzz build-tsan
