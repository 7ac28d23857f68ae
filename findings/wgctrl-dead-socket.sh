#!/bin/sh
# golang.zx2c4.com/wireguard/wgctrl: Devices returns no device at all, with an error, where one
# device in user space was killed. Its process leaves its socket in /var/run/wireguard, nobody
# answers there, and the error ends the list (Devices of internal/wguser, and of Client): those
# of the kernel, which were read before, are thrown away with it. Device finds each of the
# others. wg(8) removes such a socket and shows the rest, and after that Devices has them again.
# An exporter or a watchdog that lists the devices so goes blind with the first that dies.
#
# Guess before it was run: the dead one is left out, or comes with an error beside the others.
# Seen with wgctrl v0.0.0-20241231184526-a9ab2273dd10:
#
#	both run: devices a b
#	b was killed: devices none, connection refused
#	b was killed: device a is found
#	after wg show: devices a
#
# Needs go, wg and unshare; no root where user namespaces may be made. It fails where one of
# them is otherwise.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS="-mod=mod -modcacherw" HOME="${HOME:-$dir}"
cat >main.go <<'END'
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun/tuntest"
	"golang.zx2c4.com/wireguard/wgctrl"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// serve is a device in user space until it is killed.
func serve(name string) {
	d := device.NewDevice(tuntest.NewChannelTUN().TUN(), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	file, err := ipc.UAPIOpen(name)
	must(err)
	listener, err := ipc.UAPIListen(name, file)
	must(err)
	for {
		c, err := listener.Accept()
		must(err)
		go d.IpcHandle(c)
	}
}

func list(client *wgctrl.Client) string {
	devices, err := client.Devices()
	var names []string
	for _, d := range devices {
		names = append(names, d.Name)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "none, connection refused"
	case err != nil:
		return err.Error()
	}
	return strings.Join(names, " ")
}

func main() {
	if slices.Contains(os.Args, "serve") {
		serve(os.Args[2])
	}
	client, err := wgctrl.New()
	must(err)
	fmt.Printf("%s: devices %s\n", os.Args[1], list(client))
	if len(os.Args) > 2 {
		_, err := client.Device(os.Args[2])
		must(err)
		fmt.Printf("%s: device %s is found\n", os.Args[1], os.Args[2])
	}
}
END
cat >inside <<'END'
mount -t tmpfs none /run
running=
trap 'kill -9 $running 2>/dev/null' EXIT
for name in a b; do
	./try serve $name >/dev/null 2>&1 &
	running="$running $!"
	while [ ! -S /run/wireguard/$name.sock ]; do sleep 0.1; done
done
./try 'both run'
kill -9 ${running##* }
wait ${running##* } || true
./try 'b was killed' a
wg show >/dev/null
./try 'after wg show'
END
go mod init example >/dev/null 2>&1
go get golang.zx2c4.com/wireguard/wgctrl@v0.0.0-20241231184526-a9ab2273dd10 >/dev/null 2>&1
go get golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446 >/dev/null 2>&1
go build -o try . 2>/dev/null || { go mod tidy >/dev/null 2>&1 && go build -o try .; }
go list -m golang.zx2c4.com/wireguard/wgctrl
unshare --user --map-root-user --net --mount sh -eu inside | tee seen
cat >expected <<'END'
both run: devices a b
b was killed: devices none, connection refused
b was killed: device a is found
after wg show: devices a
END
cmp seen expected
