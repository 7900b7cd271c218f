# The bootstrap: everything a person types. The build itself is meson's (meson.build).
.PHONY: deps test-deps build test clean
deps:
	@tools/install-packages tools/packages.build
test-deps: deps
	@tools/install-packages tools/packages.build tools/packages.test
build: deps
	@test -f build/build.ninja || meson setup build --buildtype=release -Db_lto=false
	@ninja -C build
test: test-deps
	@tests/run
clean:
	rm -rf build build-test build-faults
