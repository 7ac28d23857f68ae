package lab_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/lab/labtest"
)

// A slow link carries what a fast one carries, only later.
func TestSlowLink(t *testing.T) {
	l := labtest.New(t, "ping", "tc")
	shale, basalt := newHost(t, l, "shale"), newHost(t, l, "basalt")
	const delay = 40 * time.Millisecond
	must(t, l.SlowLink(shale, "eth0", basalt, "eth0", delay))
	must(t, shale.IP("-6 address add 2001:db8::1/64 dev eth0"))
	must(t, basalt.IP("-6 address add 2001:db8::2/64 dev eth0"))
	run(t, shale, "ping", "-c1", "-W5", "2001:db8::2") // from now on they know each other's link-layer address
	said := run(t, basalt, "ping", "-q", "-c20", "-i0.01", "-s4000", "2001:db8::1")
	times := regexp.MustCompile(`= ([0-9.]+)/`).FindStringSubmatch(said)
	if times == nil || !strings.Contains(said, " 0% packet loss") {
		t.Fatal(said)
	}
	shortest, err := strconv.ParseFloat(times[1], 64)
	must(t, err)
	if want := float64(delay.Milliseconds()); shortest < want || shortest > 2*want {
		t.Errorf("the shortest round trip took %v ms, want %v and what the machine takes\n%s", shortest, want, said)
	}
	// TCP's segmentation offload: one frame has many packets.
	must(t, basalt.StartSSHD(t.Context()))
	must(t, l.Trust(t.Context(), shale, basalt, "2001:db8::2"))
	if got := run(t, shale, "sh", "-c", "head -c 5000000 /dev/zero | ssh root@2001:db8::2 wc -c"); got != "5000000" {
		t.Errorf("%s bytes came of 5000000", got)
	}
}
