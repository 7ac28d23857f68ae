package lab_test

import (
	"strings"
	"testing"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
	"wgkeys/keyring/fault"
)

func sshPair(t *testing.T) (l *lab.Lab, client, server *lab.Host) {
	t.Helper()
	l = labtest.New(t, "ssh", "sshd", "ssh-keygen")
	server, client = pair(t, l)
	must(t, server.StartSSHD(t.Context()))
	return l, client, server
}

func TestSSHSeesTheHost(t *testing.T) {
	l, client, server := sshPair(t)
	must(t, l.Trust(t.Context(), client, server))
	must(t, server.WriteFile("/etc/wireguard/wg0.pub", []byte("on the server\n"), 0o644))
	for _, to := range []string{"root@192.0.2.1", "root@2001:db8::1"} {
		got := run(t, client, "ssh", to, "hostname; cat /etc/wireguard/wg0.pub; echo $PATH; pwd")
		want := "shale\non the server\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/root"
		if got != want {
			t.Errorf("over ssh: %q, want %q", got, want)
		}
	}
}

func TestSSHKeepsOthersOut(t *testing.T) {
	_, client, server := sshPair(t)
	_, err := client.Run(t.Context(), "ssh", "-o", "BatchMode=yes", "root@192.0.2.1", "true")
	if err == nil || !strings.Contains(err.Error(), "Host key verification failed") {
		t.Errorf("an unknown server: %v", err)
	}
	key, err := server.ReadFile("/etc/ssh/ssh_host_ed25519_key.pub")
	must(t, err)
	must(t, client.WriteFile("/etc/ssh/ssh_known_hosts", append([]byte("192.0.2.1 "), key...), 0o644))
	_, err = client.Run(t.Context(), "ssh", "-o", "BatchMode=yes", "root@192.0.2.1", "true")
	if err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("an unknown client: %v", err)
	}
}

func TestTrustNeedsAServer(t *testing.T) {
	l := labtest.New(t, "ssh-keygen")
	shale, basalt := pair(t, l)
	if err := l.Trust(t.Context(), basalt, shale); err == nil || !strings.Contains(err.Error(), "it runs no ssh server") {
		t.Errorf("the error is %v", err)
	}
}

func TestSSHDSaysWhyItDoesNotStart(t *testing.T) {
	shale := newHost(t, labtest.New(t, "sshd", "ssh-keygen"), "shale")
	must(t, shale.WriteFile("/etc/ssh/ssh_host_ed25519_key", []byte("no key\n"), 0o600))
	err := shale.StartSSHD(t.Context())
	if err == nil || !strings.Contains(err.Error(), `cannot start the ssh server on "shale": sshd: no hostkeys available`) {
		t.Errorf("the error is %v", err)
	}
}

func TestSSHDHasToBeInstalled(t *testing.T) {
	shale := newHost(t, labtest.New(t, "sshd", "ssh-keygen"), "shale")
	must(t, shale.Uninstall("sshd"))
	err := shale.StartSSHD(t.Context())
	if err == nil || err.Error() != `cannot start the ssh server on "shale": sshd is not installed` {
		t.Errorf("the error is %v", err)
	}
	if hints := fault.Hints(err); len(hints) != 1 || hints[0] != "apt-get install openssh-server" {
		t.Errorf("the hints are %q", hints)
	}
}
