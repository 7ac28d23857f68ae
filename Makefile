# sudo resets PATH, and Go's own installer puts it here.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

# Packages whose tests also run on a kernel that has WireGuard.
VM_PACKAGES := $(patsubst %/,./%,$(dir $(wildcard deploy/lab/*_test.go deploy/apply/linux/*_test.go cmd/wgkeys/*_test.go)))
VM_PACKAGES := $(sort $(VM_PACKAGES))
VM := $(CURDIR)/.lab/vm

build:
	CGO_ENABLED=0 go build -trimpath -o wgkeys ./cmd/wgkeys

# In a CI a laboratory that is missing is a failure; elsewhere `go test ./...`
# alone skips what needs it. This installs it first, so it is the same here.
test: setup-test lab
	go vet ./... ./testdata/vm
	CI=true go test ./...
	go test ./testdata/vm
	CI=true CGO_ENABLED=0 go test -p 1 -count 1 -exec $(VM) $(VM_PACKAGES)

# Ten thousand peers beside wg-quick(8) and wg(8): cmd/wgkeys/doc/scale.md. It
# takes the better part of an hour, and decides nothing.
SCALE := CGO_ENABLED=0 go test -timeout 2h -run '^$$' -bench ManyPeers -benchtime 1x -v
scale: setup-test lab
	$(SCALE) ./cmd/wgkeys
	$(SCALE) -exec $(VM) ./cmd/wgkeys

# Every transition of a live tunnel, and the same through other programs: what
# cmd/wgkeys/doc/transitions.md records.
transitions: setup-test lab
	go test -count 1 -timeout 90m -v -run TestTransitions ./cmd/wgkeys -transitions
	CGO_ENABLED=0 go test -count 1 -timeout 180m -v -run TestTransitions/wgkeys -exec $(VM) ./cmd/wgkeys -transitions

demo: setup-demo build
	./wgkeys demo

lab:
	testdata/setup/kernel.sh
	CGO_ENABLED=0 go build -buildvcs=false -o $(VM) ./testdata/vm

setup-test setup-demo: setup-%:
	@testdata/setup/packages.sh $*

clean:
	rm -rf wgkeys .lab

.PHONY: build test transitions scale demo lab clean setup-test setup-demo
