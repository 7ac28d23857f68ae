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

func fileOfView(e *env, o hereOptions) (string, error) {
	if o.kept {
		return "", thereOnly(e)
	}
	return o.view, nil
}

func applyText(e *env, _ []byte, _ hereOptions) error           { return thereOnly(e) }
func applyKept(e *env, _ string, _ []byte, _ hereOptions) error { return thereOnly(e) }
func applyView(e *env, _ *tunnel.View, _ hereOptions) error     { return thereOnly(e) }
func appliedTunnel(e *env, _ string) (string, error)            { return "", thereOnly(e) }
func downHere(e *env, _ string, _, _ bool) error                { return thereOnly(e) }
func confirmHere(e *env, _, _ string, _ bool) error             { return thereOnly(e) }
func installHere(e *env, _ installOptions) error                { return thereOnly(e) }
func uninstallHere(e *env, _ uninstallOptions) error            { return thereOnly(e) }
func takeOverHere(e *env, _ *tunnel.View, _ bool) error {
	return onlyLinux(e, "wgkeys import --take-over HOST, over ssh")
}
func giveBackTaken(e *env, _ string, _ bool) error {
	return onlyLinux(e, "wgkeys import --undo HOST, over ssh")
}
func doDemo(e *env) error { return onlyLinux(e, "sudo wgkeys demo, on a Linux machine") }
