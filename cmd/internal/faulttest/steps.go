package faulttest

import (
	"fmt"
	"os"
	"strings"
	"time"

	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
)

// Files on a host that control faults in the controller and the participants of a rotation.
// Participants do not inherit the environment of the test, so it is files.
//
// Each step has two points, before and after it. FaultFile has "kill POINT", which kills
// the first process that reaches the point, or "pause POINT", which makes it wait until
// GoFile exists. HitFile is there once the point was reached. If StepsFile exists, every
// point that is reached is appended to it.
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

// ControllerStep runs a step of the controller between two points.
func ControllerStep(step string, do func() error) error {
	return atStep("controller: "+step, do)
}

// ParticipantSteps puts points around everything that a participant of a rotation does. A
// command that starts a participant has the role "command".
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

// steps is a tunnel with points around each call.
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
