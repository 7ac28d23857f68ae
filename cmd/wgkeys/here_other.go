//go:build !linux

package main

import (
	"runtime"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// What a host does itself is done on Linux only. Everything else is available: the vault,
// checks, and hosts over ssh.

func onlyLinux(e *env, hint string) error {
	return fault.New("only a host can do this itself:", "wgkeys "+e.cli.Command.Name,
		"it runs on Linux, and this is "+runtime.GOOS, hint)
}

func thereOnly(e *env) error { return onlyLinux(e, "wgkeys "+e.cli.Command.Name+" HOST, over ssh") }

func startHere()     { hideMemory() }
func takeHugePages() {}

func fileOfView(e *env) (string, error) {
	if e.cli.Bool("kept") {
		return "", thereOnly(e)
	}
	return e.cli.String("view"), nil
}

func applyText(e *env, _ []byte, _ bool) error           { return thereOnly(e) }
func applyKept(e *env, _ string, _ []byte, _ bool) error { return thereOnly(e) }
func applyView(e *env, _ *tunnel.View, _ bool) error     { return thereOnly(e) }
func appliedTunnel(e *env) (string, error)               { return "", thereOnly(e) }
func downHere(e *env, _ string) error                    { return thereOnly(e) }
func confirmHere(e *env, _ string) error                 { return thereOnly(e) }
func installHere(e *env) error                           { return thereOnly(e) }
func uninstallHere(e *env) error                         { return thereOnly(e) }
func takeOverHere(e *env, _ *tunnel.View) error {
	return onlyLinux(e, "wgkeys import --take-over HOST, over ssh")
}
func giveBackTaken(e *env) error { return onlyLinux(e, "wgkeys import --undo HOST, over ssh") }
func doDemo(e *env) error        { return onlyLinux(e, "sudo wgkeys demo, on a Linux machine") }
