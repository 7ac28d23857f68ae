# sudo resets PATH, and Go's own installer puts it here.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

# Everything is built as the program is: without cgo, and without the part of urfave/cli
# that nobody calls, whose regular expressions cost each start of a test's program a tenth.
# One way for all also compiles each package once.
export CGO_ENABLED := 0
export GOFLAGS := -tags=urfave_cli_no_docs

# Without the tables of a debugger: a third less on a disk, and nearly half of what ssh would carry
# to each host. A panic still names
# its functions and lines.
BUILD := go build -trimpath -ldflags='-s -w'

VM := $(CURDIR)/.lab/vm

# The kernel of the VM laboratory: this machine's Debian's own (6.1 on Debian 12),
# or KERNEL=6.1, 6.12 or newest (what Debian sid or experimental has). All lie side
# by side below .lab:
#
#	make lab KERNEL=newest
#	make vm KERNEL=newest
#	WGKEYS_LAB_KERNEL=newest CGO_ENABLED=0 go test -exec $(VM) ./deploy/lab
KERNEL := $(WGKEYS_LAB_KERNEL)
export WGKEYS_LAB_KERNEL := $(KERNEL)

# Tests on a kernel that has WireGuard.
VM_TEST := CI=true go test -p 1 -count 1 -timeout 30m -exec $(VM)

build:
	$(BUILD) -o wgkeys ./cmd/wgkeys

# The program for hosts of other architectures, for wgkeys install --programs.
programs:
	GOOS=linux GOARCH=amd64 $(BUILD) -o programs/wgkeys-linux-amd64 ./cmd/wgkeys
	GOOS=linux GOARCH=arm64 $(BUILD) -o programs/wgkeys-linux-arm64 ./cmd/wgkeys
	GOOS=linux GOARCH=arm GOARM=7 $(BUILD) -o programs/wgkeys-linux-armv7 ./cmd/wgkeys
	GOOS=linux GOARCH=riscv64 $(BUILD) -o programs/wgkeys-linux-riscv64 ./cmd/wgkeys

# A release in dist: programs, packages, what they are made of (SBOM), checksums. VERSION=1.2.3
# names it and SIGN=KEY signs it. release-twice builds it in two folders and compares.
release:
	testdata/release/build.sh
release-twice:
	testdata/release/twice.sh

# The packages on clean Debians, upgraded and removed under traffic:
# cmd/wgkeys/doc/measured/release.md.
packages-test:
	testdata/release/packages-test.sh

# The program for Windows, run by wine in a root of Debian 13, which is some 250 MB to
# download: cmd/wgkeys/doc/measured/release.md.
wine:
	testdata/release/wine.sh

# In a CI a laboratory that is missing is a failure; elsewhere `go test ./...`
# alone skips what needs it. This installs it first, so it is the same here. The
# emulated machine has one processor, and runs beside the rest.
test: setup-test gates lab
	@$(MAKE) --no-print-directory vm-sample >.lab/vm-sample.log 2>&1 & machine=$$!; \
	CI=true go test -vet=off -parallel 6 -timeout 40m ./... ./testdata/vm; tests=$$?; \
	wait $$machine; kernel=$$?; cat .lab/vm-sample.log; exit $$((tests | kernel))

# What has to be true of all code before a test is run: gofmt, vet, staticcheck, go mod
# tidy, complexity, columns, known vulnerabilities. What may import what is in tests.
gates:
	testdata/setup/gates.sh

# What of the tests only a kernel with WireGuard shows: a sample for each `make test`, and
# the selection that each of the kernels takes.
VM_LAB := -run 'TestHostsReachEachOther|TestRouterAdvertisement|TestForwardingDropsTheAdvertisedRoute|TestKernelWireGuard' ./deploy/lab
vm-sample:
	$(VM_TEST) -run '^Test(KernelWireGuard|RouterAdvertisement)$$' ./deploy/lab
	$(VM_TEST) -short -run '^Test(EveryChange|BytesOfRequests|WGAgrees|LabManyPeers|Rekey|CoveredRoutes)$$' ./deploy/apply/linux
	$(VM_TEST) -run '^TestLabApplyFirstTunnel$$' ./cmd/wgkeys

vm-selection:
	$(VM_TEST) $(VM_LAB)
	$(VM_TEST) ./deploy/apply/linux ./deploy/apply/linux/rule ./deploy/apply/linux/port ./deploy/apply/linux/sysctl
	$(VM_TEST) -run '^TestLab(Apply(FirstTunnel|ForwardingOrder|LiveChanges|DefaultRoute)|DownRestores|InstallUpgrade)$$' ./cmd/wgkeys

# All tests that need a laboratory, on that kernel. The machine is emulated, and
# this takes most of an hour.
vm: setup-test lab
	$(VM_TEST) -timeout 60m ./deploy/lab ./deploy/apply/linux ./deploy/apply/linux/rule ./deploy/apply/linux/port ./deploy/apply/linux/sysctl ./cmd/wgkeys

# The machine's selection, twenty rotations and some transitions on Linux 6.1, 6.12
# and the newest that Debian has: the table of cmd/wgkeys/doc/measured/kernels.md. It takes an
# hour and more.
kernels: setup-test lab
	testdata/setup/kernels.sh $(VM)

# Every system call of an apply made to fail, and the process killed at each; every change
# of one delayed; every write of init, gen, rekey and rotate to the repository; each step
# of a rotation, with the processes killed or delayed and the link cut there:
# cmd/wgkeys/doc/measured/faults.md. The last takes hours.
faults: setup-test
	go test -count 1 -timeout 60m -v -run 'TestLabApply(Faults|Slow)$$' ./cmd/wgkeys -long faults
	go test -count 1 -timeout 60m -v -run 'TestInitFaults|TestGenFaults|TestFinishFaults|TestRekeyFaults|TestLabRotateWriteFaults' ./cmd/wgkeys -long faults
	go test -count 1 -timeout 30m -v -run TestLabNoKeyIsLeft ./cmd/wgkeys -long leaks
	go test -count 1 -timeout 240m -parallel 6 -v -run TestLabRotateFaults ./cmd/wgkeys -long faults -fault-labs 6

# Ten thousand peers beside wg-quick(8) and wg(8): cmd/wgkeys/doc/measured/scale.md. It
# takes an hour or two, and decides nothing.
SCALE := go test -timeout 2h -run '^$$' -bench ManyPeers -benchtime 1x -v
scale: setup-test lab
	$(SCALE) ./cmd/wgkeys
	$(SCALE) -exec $(VM) ./cmd/wgkeys

# Every transition of a live tunnel, and the same through other programs: what
# cmd/wgkeys/doc/measured/transitions.md records. systemd-networkd is 6 MB to download.
transitions: setup-test lab
	testdata/setup/managers.sh networkd
	go test -count 1 -timeout 90m -v -run TestLabTransitions ./cmd/wgkeys -long transitions
	go test -count 1 -timeout 180m -v -run '^TestLabTransitions$$/wgkeys' -exec $(VM) ./cmd/wgkeys -long transitions
	go test -count 1 -timeout 120m -v -run TestLabTransitionsBeside -exec $(VM) ./cmd/wgkeys -long transitions

# 5 MB through uplinks of all widths, with the MTU chosen and set by hand:
# cmd/wgkeys/doc/measured/mtu.md. It takes half an hour.
mtu: setup-test lab
	go test -count 1 -timeout 30m -v -run TestLabMTUFigures ./cmd/wgkeys -long mtu
	go test -count 1 -timeout 60m -v -run TestLabMTUFigures -exec $(VM) ./cmd/wgkeys -long mtu

# Every rotation of keys in a running tunnel, and how others rotate: what
# cmd/wgkeys/doc/measured/rotation.md records. It takes two hours. The emulated machine
# carries fewer packets.
rotations: setup-test lab
	go test -count 1 -timeout 60m -v -run TestLabRotate ./cmd/wgkeys -long rotations
	go test -count 1 -timeout 180m -v -run TestLabRotate -exec $(VM) ./cmd/wgkeys -long rotations -mesh-rate 200 -fast-rate 10000

# A hundred random histories of two administrators with a clone each, beside a model, and
# 200 operations of theirs that git merges.
histories: setup-test
	go test -count 1 -timeout 60m -v -run TestTwoAdmins ./cmd/wgkeys -long team
	go test -count 1 -timeout 120m -v -run TestLabHistories ./cmd/wgkeys -long histories

# What wg-quick makes of each real file, and what wgkeys makes of it.
imports: setup-test
	go test -count 1 -timeout 60m -v -run 'TestLabImport$$' ./cmd/wgkeys -long imports

# Two hundred hosts on this machine, beside xargs(1) and ssh(1): cmd/wgkeys/doc/measured/many.md.
many: setup-test setup-many
	go test -count 1 -timeout 120m -v -run 'TestLabMany' ./cmd/wgkeys -long many

# The program brought over ssh to Debian 12 and 13 with systemd and with ifupdown, to one
# with busybox and OpenRC, and to arm64 by qemu-user: cmd/wgkeys/doc/measured/install.md. The
# roots are some 350 MB to download.
installs: setup-test
	testdata/setup/roots.sh
	go test -count 1 -timeout 60m -v -run 'TestLabInstall(Roots|Arm64)$$|TestInstallSource|TestLabFirstHour' ./cmd/wgkeys -long installs

# Every fuzz target for a minute, or FUZZTIME=1h; FUZZ='vault Fuzz' takes some of them:
# cmd/wgkeys/doc/measured/fuzz.md.
fuzz:
	testdata/setup/fuzz.sh

# The whole suite with the race detector, some hours: cmd/wgkeys/doc/measured/race.md.
race: setup-test
	testdata/setup/race.sh

# Every hint of every script, run in the state that gave it.
hints: setup-test
	go test -count 1 -timeout 60m -v ./cmd/wgkeys -short -skip TestLab -long hints

# Ten thousand peers taken in beside wg(8), and a thousand hosts exported beside the writing
# of the same files: cmd/wgkeys/doc/measured/moving.md. It decides nothing.
moving: setup-test
	go test -count 1 -timeout 60m -v -run '^$$' -bench 'Moving$$' -benchtime 1x ./cmd/wgkeys

# wgkeys beside what a user would take otherwise, each pair in turns: one table of ratios, in
# cmd/wgkeys/doc/measured/bench.md. ROW=rekey takes the rows with that word. It takes an hour.
bench: setup-test setup-bench
	testdata/setup/sops.sh
	SOPS="$(CURDIR)/.lab/bin/sops" go test -count 1 -timeout 120m -v -run 'TestBench$$' ./cmd/wgkeys -long bench -row "$(ROW)"

# Ten thousand keys encrypted again, beside the bare cryptography, age and sops:
# cmd/wgkeys/doc/measured/vault.md. sops takes part where SOPS names its program.
vault: setup-test
	go test -count 1 -timeout 60m -v -run TestRekeyFigures ./cmd/wgkeys -long vault

# A hub and its forty peers behind one bastion, whose sshd lets in no more than it does
# by default: push, apply, status and rotate, ten times:
# cmd/wgkeys/doc/measured/rotation.md.
bastion: setup-test
	go test -count 1 -timeout 120m -v -run 'TestLabBastion$$' ./cmd/wgkeys -long bastion

# An apply over ssh that cuts its own way to the host, twenty times:
# cmd/wgkeys/doc/measured/faults.md.
lockout: setup-test
	go test -count 1 -timeout 10m -v -run 'TestLabConfirmLockOut$$' ./cmd/wgkeys -long lockout

# The real systemd-resolved, resolvconf, systemd-networkd and NetworkManager, on
# a laboratory host: cmd/wgkeys/doc/measured/managers.md. They are 23 MB to download.
managers: setup-test
	testdata/setup/managers.sh
	go vet -tags managers ./cmd/wgkeys
	CI=true go test -count 1 -v -tags managers -run TestLabManagers ./cmd/wgkeys
	CI=true go test -count 1 -v -tags managers -run TestManagers ./deploy/tunnel/ifupdown ./deploy/tunnel/nixos

# Debian sid with the real systemd, booted with systemd-networkd and with
# NetworkManager: cmd/wgkeys/doc/measured/managers.md. It is 150 MB to download, and the
# emulated machine takes some minutes to boot.
systemd: setup-test
	testdata/setup/sid.sh
	CI=true go test -count 1 -v -timeout 90m -tags managers -run TestLabSystemd ./cmd/wgkeys

# What the real wg-quick, ifupdown, systemd-networkd, netplan and NetworkManager of the same
# machine make of each export, and of real files, beside what wgkeys makes; and nix of a
# module: cmd/wgkeys/doc/measured/trips.md.
trips: setup-test
	testdata/setup/sid.sh
	CI=true go test -count 1 -v -timeout 120m -tags managers -run TestLabTrips ./cmd/wgkeys
	CI=true go test -count 1 -v -tags managers -run TestManagersNix ./deploy/tunnel/nixos

# What status --prometheus writes, checked by Prometheus' own linter, which is 19 MB to
# download and not installed: cmd/wgkeys/doc/measured/status.md.
prometheus: setup-test
	testdata/setup/promtool.sh
	PATH="$(CURDIR)/.lab/promtool/usr/bin:$$PATH" go test -count 1 -v -run 'TestPrometheus$$' ./cmd/internal/standing

demo: setup-demo build
	./wgkeys demo

lab:
	testdata/setup/kernel.sh $(KERNEL)
	go build -buildvcs=false -o $(VM) ./testdata/vm

setup-test setup-demo setup-bench setup-many: setup-%:
	@testdata/setup/packages.sh $*
	@[ $* != test ] || testdata/setup/managers.sh firewalld ifupdown2

clean:
	rm -rf wgkeys programs dist .lab

.PHONY: build programs release release-twice packages-test wine test gates vm vm-sample vm-selection kernels faults bastion lockout managers systemd prometheus trips transitions mtu rotations histories fuzz race hints imports installs many moving scale vault bench demo lab clean setup-test setup-demo setup-bench setup-many
