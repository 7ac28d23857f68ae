package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"wgkeys/keyring/fault"
)

const (
	hostKey  = "/etc/ssh/ssh_host_ed25519_key"
	userKey  = "/root/.ssh/id_ed25519"
	pidFile  = "/run/sshd.pid"
	sshdLog  = "/run/sshd.log"
	sshdConf = `# The ssh server of a laboratory host.
HostKey ` + hostKey + `
PidFile ` + pidFile + `
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
# PAM sets it on other hosts.
SetEnv PATH=` + searchPath + `
# sntrup takes three times the processor time of the rest of a login. The other methods are
# as safe here, and post-quantum too unless ssh is old (mlkem768x25519).
KexAlgorithms -sntrup*
# Tests open many connections at once.
MaxStartups 100
MaxSessions 100
`
	sshConf = `Host *
	StrictHostKeyChecking yes
	BatchMode yes
	ConnectTimeout 10
`
)

// StartSSHD starts OpenSSH's server on the host, with a host key of its own, on port 22 of
// all addresses. A login sees what the host sees. [Lab.Trust] lets other hosts log in. The
// log is in /run/sshd.log.
func (h *Host) StartSSHD(ctx context.Context) error {
	if err := h.WriteFile("/etc/ssh/sshd_config", []byte(sshdConf), 0o644); err != nil {
		return err
	}
	if err := h.makeKey(ctx, hostKey); err != nil {
		return err
	}
	path, err := h.Run(ctx, "sh", "-c", "command -v sshd")
	if err != nil {
		return fault.NewHost("cannot start the ssh server on", h.name, "sshd is not installed",
			"apt-get install openssh-server")
	}
	// sshd has to be called by its absolute path, because it executes itself for each
	// connection.
	if _, err := h.Run(ctx, strings.TrimSpace(path), "-E", sshdLog); err != nil {
		said, _ := h.ReadFile(sshdLog) // the reason is in the log, not on standard error
		why := strings.TrimSpace(string(said))
		if why = why[strings.LastIndexByte(why, '\n')+1:]; why == "" {
			return fault.WrapHost(err, "cannot start the ssh server on", h.name, "")
		}
		return fault.NewHost("cannot start the ssh server on", h.name, why, "")
	}
	// sshd goes into the background before it listens, and writes the PID file afterwards.
	return Until(ctx, "the ssh server of "+h.name+" to listen", func(context.Context) (bool, error) {
		_, err := h.ReadFile(pidFile)
		return err == nil, nil
	})
}

// makeKey makes an ssh key without a passphrase unless there is one.
func (h *Host) makeKey(ctx context.Context, path string) error {
	const script = `test -e "$1" || { mkdir -p "${1%/*}" && ssh-keygen -q -t ed25519 -N "" -f "$1"; }`
	_, err := h.Run(ctx, "sh", "-c", script, "sh", path)
	return err
}

// Trust lets root on client log in as root on server, which has to run an ssh server: `ssh
// root@ADDRESS` works on client with strict checking of the host key. The known names of
// server are its present addresses, its own name, and names.
func (l *Lab) Trust(ctx context.Context, client, server *Host, names ...string) error {
	if err := client.makeKey(ctx, userKey); err != nil {
		return err
	}
	public, err := client.ReadFile(userKey + ".pub")
	if err != nil {
		return err
	}
	if err := server.authorize(public); err != nil {
		return err
	}
	key, err := server.ReadFile(hostKey + ".pub")
	if errors.Is(err, fs.ErrNotExist) {
		return fault.NewHost("cannot trust the host", server.name, "it runs no ssh server", "")
	} else if err != nil {
		return err
	}
	addrs, err := server.Addresses(ctx)
	if err != nil {
		return err
	}
	known := append([]string{server.name}, names...)
	for _, a := range addrs {
		known = append(known, a.Addr().String())
	}
	if err := client.WriteFile("/etc/ssh/ssh_config", []byte(sshConf), 0o644); err != nil {
		return err
	}
	line := fmt.Sprintf("%s %s", strings.Join(known, ","), key)
	return client.appendFile("/etc/ssh/ssh_known_hosts", []byte(line), 0o644)
}

// authorize lets the holder of an ssh key log in as root.
func (h *Host) authorize(public []byte) error {
	const dir = "/root/.ssh"
	if _, err := h.Run(context.Background(), "mkdir", "-p", "-m", "700", dir); err != nil {
		return err
	}
	return h.appendFile(dir+"/authorized_keys", public, 0o600)
}

// Addresses returns the host's addresses of global scope, with their prefix lengths.
func (h *Host) Addresses(ctx context.Context) ([]netip.Prefix, error) {
	out, err := h.Run(ctx, "ip", "-oneline", "address", "show", "scope", "global")
	if err != nil {
		return nil, err
	}
	var addrs []netip.Prefix
	for line := range strings.Lines(out) {
		// 2: eth0    inet6 2001:db8::1/64 scope global …
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		// A point-to-point address ("inet 192.0.2.1 peer …") has no length.
		p, err := netip.ParsePrefix(f[3])
		if a, aErr := netip.ParseAddr(f[3]); err != nil && aErr == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return nil, fault.WrapHost(err, "cannot read the addresses of host", h.name, "")
		}
		addrs = append(addrs, p)
	}
	return addrs, nil
}
