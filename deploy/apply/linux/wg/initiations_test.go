package wg

import (
	"encoding/binary"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"wgkeys/deploy/lab/labtest"
)

// The filter accepts handshake initiations over IPv4, even with options, and IPv6, and no
// other packets.
func TestInitiationFilter(t *testing.T) {
	vm, err := bpf.NewVM(initiationFilter)
	if err != nil {
		t.Fatal(err)
	}
	initiation := append([]byte{1, 0, 0, 0}, make([]byte, 144)...)
	udp := func(payload []byte) []byte {
		header := binary.BigEndian.AppendUint16([]byte{0x77, 0x67, 0x77, 0x67}, uint16(8+len(payload)))
		return append(append(header, 0, 0), payload...)
	}
	v4 := func(options int, protocol byte, fragment uint16, rest []byte) []byte {
		header := make([]byte, 20+options)
		header[0], header[9] = 0x40|byte(len(header)/4), protocol
		binary.BigEndian.PutUint16(header[6:], fragment)
		return append(header, rest...)
	}
	v6 := func(next byte, rest []byte) []byte {
		header := make([]byte, 40)
		header[0], header[6] = 0x60, next
		return append(header, rest...)
	}
	other := func(change func(b []byte)) []byte {
		b := append([]byte(nil), initiation...)
		change(b)
		return udp(b)
	}
	data := other(func(b []byte) { b[0] = 4 })
	for name, c := range map[string]struct {
		packet []byte
		want   bool
	}{
		"IPv4":                       {v4(0, 17, 0, udp(initiation)), true},
		"IPv4, not to be fragmented": {v4(0, 17, 0x4000, udp(initiation)), true},
		"IPv4 with options":          {v4(8, 17, 0, udp(initiation)), true},
		"IPv6":                       {v6(17, udp(initiation)), true},
		"IPv4, a packet of data":     {v4(0, 17, 0, data), false},
		"IPv6, a packet of data":     {v6(17, data), false},
		"IPv4, reserved bits":        {v4(0, 17, 0, other(func(b []byte) { b[2] = 1 })), false},
		"IPv4, longer":               {v4(0, 17, 0, udp(append(initiation, 0))), false},
		"IPv6, longer":               {v6(17, udp(append(initiation, 0))), false},
		"IPv4, a later fragment":     {v4(0, 17, 1, udp(initiation)), false},
		"IPv4, TCP":                  {v4(0, 6, 0, udp(initiation)), false},
		"IPv6, TCP":                  {v6(6, udp(initiation)), false},
		"IPv4, cut short":            {v4(0, 17, 0, udp(initiation))[:29], false},
		"ARP":                        {[]byte{0, 1, 8, 0, 6, 4, 0, 1}, false},
		"nothing":                    {nil, false},
	} {
		n, err := vm.Run(c.packet)
		if err != nil || n > 0 != c.want {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
}

// The kernel accepts the filter. The channel gets a value for an initiation, and none for
// another packet before it.
func TestInitiations(t *testing.T) {
	if os.Geteuid() != 0 {
		labtest.Missing(t, "a packet socket takes root")
	}
	i, err := WatchInitiations()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	message := make([]byte, 148)
	for _, kind := range []byte{4, 1} {
		message[0] = kind
		if _, err := conn.WriteTo(message, conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-i.C:
			if kind != 1 {
				t.Error("a packet of data is taken for an initiation")
			}
		case <-time.After(map[byte]time.Duration{4: 100 * time.Millisecond, 1: 30 * time.Second}[kind]):
			if kind == 1 {
				t.Error("nothing is told of an initiation")
			}
		}
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}
