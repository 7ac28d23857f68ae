// Package pace says how fast packets that were held before a tunnel's device are let
// go. All at once they would overflow the queues behind it: the kernel encrypts and
// decrypts in queues of 1024 packets (MAX_QUEUED_PACKETS in drivers/net/wireguard) and
// drops what comes on top without counting it, and the network between the hosts and
// their processors bear what they carry anyway and not much more.
package pace

import (
	"math"
	"time"
)

const (
	// leastPackets and leastBytes may go each millisecond, or faster than they came by
	// the factor hasten. Bytes count because one packet here may be 64 in the device
	// (GSO).
	leastPackets = 16
	leastBytes   = 24_000
	hasten       = 1.5

	// grow is the factor by which it goes faster each millisecond. A program that was
	// stopped by what is held sends more again when it goes; so it comes to an end.
	grow = 1 + 1./128

	// longest is for how much time at most is made good, in milliseconds, when a
	// program was kept from letting packets go.
	longest = 8
)

// A Pace is the pace of one release.
type Pace struct {
	packets, bytes    float64 // a millisecond
	mayGo, mayGoBytes float64 // now
	first             bool    // none went since the last Elapse
}

// New is the pace for so many packets and bytes that came in so long a time.
func New(packets, bytes int, in time.Duration) *Pace {
	ms := max(1, milliseconds(in))
	return &Pace{
		packets: max(leastPackets, hasten*float64(packets)/ms),
		bytes:   max(leastBytes, hasten*float64(bytes)/ms),
	}
}

// Elapse says how much time has gone by since the last Elapse. Less than a millisecond
// counts as one.
func (p *Pace) Elapse(time time.Duration) {
	ms := min(max(1, milliseconds(time)), longest)
	faster := math.Pow(grow, ms)
	p.packets, p.bytes = p.packets*faster, p.bytes*faster
	p.mayGo, p.mayGoBytes = p.mayGo+p.packets*ms, p.mayGoBytes+p.bytes*ms
	p.first = true
}

// Allow reports whether another packet of so many bytes may go now, and counts it if so.
// One may after each Elapse, however large.
func (p *Pace) Allow(bytes int) bool {
	if !p.first && (p.mayGo < 1 || p.mayGoBytes < float64(bytes)) {
		return false
	}
	p.first = false
	p.mayGo, p.mayGoBytes = max(0, p.mayGo-1), max(0, p.mayGoBytes-float64(bytes))
	return true
}

// Reset says that none is left. What might have gone is not for those that come later.
func (p *Pace) Reset() { p.mayGo, p.mayGoBytes = 0, 0 }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
