// Package pace decides how fast held packets are released into a tunnel's device. All at
// once they would overflow the queues behind it: the kernel encrypts and decrypts in queues
// of 1024 packets (MAX_QUEUED_PACKETS in drivers/net/wireguard) and drops the rest without
// counting it, and the network between the hosts cannot take much more than its usual rate
// either.
package pace

import (
	"math"
	"time"
)

const (
	// leastPackets and leastBytes may go in each millisecond, or hasten times the rate at
	// which they came, if that is more. Bytes count too, because one packet here may become
	// 64 in the device (GSO).
	leastPackets = 16
	leastBytes   = 24_000
	hasten       = 1.5

	// grow is the factor by which the rate rises each millisecond. Programs that were
	// blocked by the hold send more as soon as packets are released, and the release has to
	// catch up.
	grow = 1 + 1./128

	// longest is how many milliseconds of delay are made up for at most, when the releasing
	// program did not run for a while.
	longest = 8
)

// A Pace is the rate of one release. It is not safe for concurrent use.
type Pace struct {
	packets, bytes    float64 // allowed per millisecond
	mayGo, mayGoBytes float64 // allowed now
	first             bool    // no packet was allowed since the last Elapse
}

// New returns the pace for so many packets and bytes that came in the duration in.
func New(packets, bytes int, in time.Duration) *Pace {
	ms := max(1, milliseconds(in))
	return &Pace{
		packets: max(leastPackets, hasten*float64(packets)/ms),
		bytes:   max(leastBytes, hasten*float64(bytes)/ms),
	}
}

// Elapse says how much time has passed since the last Elapse. Less than a millisecond
// counts as one.
func (p *Pace) Elapse(time time.Duration) {
	ms := min(max(1, milliseconds(time)), longest)
	faster := math.Pow(grow, ms)
	p.packets, p.bytes = p.packets*faster, p.bytes*faster
	p.mayGo, p.mayGoBytes = p.mayGo+p.packets*ms, p.mayGoBytes+p.bytes*ms
	p.first = true
}

// Allow reports whether a packet of so many bytes may go now, and if so counts it. After
// each Elapse one packet may go, however long it is.
func (p *Pace) Allow(bytes int) bool {
	if !p.first && (p.mayGo < 1 || p.mayGoBytes < float64(bytes)) {
		return false
	}
	p.first = false
	p.mayGo, p.mayGoBytes = max(0, p.mayGo-1), max(0, p.mayGoBytes-float64(bytes))
	return true
}

// Reset says that no packets are left. What was allowed and not used does not add up.
func (p *Pace) Reset() { p.mayGo, p.mayGoBytes = 0, 0 }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
