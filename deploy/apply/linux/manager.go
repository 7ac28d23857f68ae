package linux

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"wgkeys/deploy/apply"
)

// observeManagers finds who manages the host's network besides us.
func observeManagers(name string, s *apply.State) {
	for manager, sign := range map[string]string{
		apply.Networkd:       "/run/systemd/netif/state",
		apply.NetworkManager: "/run/NetworkManager/devices",
	} {
		if _, err := os.Stat(sign); err != nil {
			continue
		}
		s.Managers = append(s.Managers, manager)
		text, err := os.ReadFile(apply.ManagerFile(name, manager))
		if err == nil && string(text) == apply.UnmanagedText(name, manager)+"\n" {
			s.Unmanaged = append(s.Unmanaged, manager)
		}
	}
}

// setManager writes or removes the manager's file and has it read again. A
// manager that does not answer now reads the file when it starts.
func setManager(ctx context.Context, c apply.ManagerChange) error {
	file := apply.ManagerFile(c.Link, c.Manager)
	var err error
	if c.Add {
		if err = os.MkdirAll(filepath.Dir(file), 0o755); err == nil {
			err = os.WriteFile(file, []byte(apply.UnmanagedText(c.Link, c.Manager)+"\n"), 0o644)
		}
	} else if err = os.Remove(file); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	reload := []string{"networkctl", "reload"}
	if c.Manager == apply.NetworkManager {
		reload = []string{"nmcli", "general", "reload", "conf"}
	}
	if _, err := exec.LookPath(reload[0]); err == nil {
		runProgram(ctx, "", reload[0], reload[1:]...)
	}
	return nil
}
