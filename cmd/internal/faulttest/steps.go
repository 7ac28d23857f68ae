package faulttest

import (
	"fmt"
	"os"
	"strings"
	"time"

	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
)

// Files on a host. The controller of a rotation and the parts that hosts play in it are hit at
// their steps by what a file on the host says. It is no environment variable,
// which the parts are not started with.
//
// A step has two points, before and after it. The file says "kill POINT": the
// process that comes there first is killed, as with kill -9; or "pause POINT": it
// waits there, and the test does what it wants. Where there is a file of steps,
// each point is told there.
const (
	FaultFile = "/root/fault"
	HitFile   = "/root/fault.hit"
	GoFile    = "/root/fault.go"
	StepsFile = "/root/steps"
)

func atStep(step string, do func() error) error {
	atPoint("before " + step)
	err := do()
	atPoint("after " + step)
	return err
}

func atPoint(point string) {
	if f, err := os.OpenFile(StepsFile, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		fmt.Fprintln(f, point)
		f.Close()
	}
	want, err := os.ReadFile(FaultFile)
	how, at, _ := strings.Cut(string(want), " ")
	if err != nil || at != point || os.Rename(FaultFile, HitFile) != nil {
		return
	}
	if how == "kill" {
		die()
	}
	for range 30_000 {
		if os.Remove(GoFile) == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// ControllerStep stands around a step of the controller.
func ControllerStep(step string, do func() error) error {
	return atStep("controller: "+step, do)
}

// ParticipantSteps stands around all that a part in a rotation does. A command that
// begins a part is no part yet.
func ParticipantSteps(r *rotate.Record, t rotate.Tunnel, save func(*rotate.Record) error) (rotate.Tunnel,
	func(*rotate.Record) error) {
	role := "watcher"
	switch {
	case os.Args[0] != "wgkeys-turn":
		role = "command"
	case r.Switch:
		role = "switch"
	}
	s := &steps{t, r, role}
	return s, func(r *rotate.Record) error { return s.at("save", func() error { return save(r) }) }
}

// steps is a tunnel around each call of which something can happen.
type steps struct {
	rotate.Tunnel
	record *rotate.Record
	role   string
}

func (s *steps) at(call string, do func() error) error {
	return atStep(fmt.Sprintf("%s: %s while %s", s.role, call, s.record.Phase), do)
}

func (s *steps) Look() (live rotate.Live, err error) {
	err = s.at("look", func() error {
		live, err = s.Tunnel.Look()
		return err
	})
	return live, err
}

func (s *steps) Stage(old, next keyring.PublicKey) error {
	return s.at("stage", func() error { return s.Tunnel.Stage(old, next) })
}

func (s *steps) Follow(from, to keyring.PublicKey) error {
	return s.at("follow", func() error { return s.Tunnel.Follow(from, to) })
}

func (s *steps) Drop(peer keyring.PublicKey) error {
	return s.at("drop", func() error { return s.Tunnel.Drop(peer) })
}

func (s *steps) Switch(to keyring.PublicKey) error {
	return s.at("switch", func() error { return s.Tunnel.Switch(to) })
}

func (s *steps) Nudge(peers []keyring.PublicKey) error {
	return s.at("nudge", func() error { return s.Tunnel.Nudge(peers) })
}

func (s *steps) Promote(next keyring.PublicKey) error {
	return s.at("promote", func() error { return s.Tunnel.Promote(next) })
}

func (s *steps) Rekey(old, next keyring.PublicKey) error {
	return s.at("rekey", func() error { return s.Tunnel.Rekey(old, next) })
}

func (s *steps) Hold() error    { return s.at("hold", s.Tunnel.Hold) }
func (s *steps) Release() error { return s.at("release", s.Tunnel.Release) }
