// Package formats is the list of the formats of other programs that tunnels come from
// and go to.
package formats

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/ifupdown"
	"wgkeys/deploy/tunnel/meshconf"
	"wgkeys/deploy/tunnel/netplan"
	"wgkeys/deploy/tunnel/networkd"
	"wgkeys/deploy/tunnel/networkmanager"
	"wgkeys/deploy/tunnel/nixos"
	"wgkeys/deploy/tunnel/openwrt"
	"wgkeys/deploy/tunnel/wgquick"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// A Format is how one program spells a tunnel.
type Format struct {
	Name  string // as --format takes it
	About string // for a list, a few words

	// Is tells of a file whether it is one of this format; nil: not told by looking.
	Is func(f foreign.File) bool
	// Parse reads the files of one or several hosts; nil: the format is only written.
	Parse func(files []foreign.File) ([]*foreign.Device, error)
	// Write spells a host's view, nil: the format is only read. Without secrets the
	// key files are named, or it is a fault.
	Write func(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error)
}

// all are the formats; of two that a file may be of the first counts.
var all = []Format{
	{"wg-quick", "wg-quick(8), wg setconf, wg showconf", isWGQuick, wgquick.Parse, wgquick.Format},
	{"networkd", "systemd-networkd's .netdev and .network", isNetworkd, networkd.Parse, networkd.Format},
	{"networkmanager", "NetworkManager's keyfiles", isKeyfile, networkmanager.Parse, networkmanager.Format},
	{"ifupdown", "/etc/network/interfaces, of ifupdown and ifupdown-ng", isIfupdown, ifupdown.Parse, ifupdown.Format},
	{"nixos", "a module of NixOS", nil, nil, nixos.Format},
	{"openwrt", "OpenWrt's /etc/config/network and firewall", isOpenWrt, openwrt.Parse, nil},
	{"wg-meshconf", "wg-meshconf's database.csv", isMeshconf, meshconf.Parse, nil},
	{"netplan", "netplan's YAML", isNetplan, netplan.Parse, netplan.Format},
	{"json", "the view, as show --json", nil, nil, writeJSON},
}

// Named returns the format of that name that can do what is wanted.
func Named(name string, read bool) (*Format, error) {
	names := Names(read)
	for i := range all {
		if all[i].Name == name && slices.Contains(names, name) {
			return &all[i], nil
		}
	}
	why, hint := "there are "+strings.Join(names, ", "), "--format "+names[0]
	if near := words.Nearest(name, slices.Values(names)); near != "" {
		why, hint = why+": did you mean "+strconv.Quote(near)+"?", "--format "+near
	}
	return nil, fault.New("no such format", name, why, hint)
}

// Names are those of the formats that can be read, or written, in order.
func Names(read bool) (names []string) {
	for _, f := range all {
		if read && f.Parse != nil || !read && f.Write != nil {
			names = append(names, f.Name)
		}
	}
	return names
}

// of is the format of a file by what is in it.
func of(file foreign.File) (*Format, error) {
	if err := plain(file); err != nil {
		return nil, err
	}
	for i := range all {
		if f := &all[i]; f.Is != nil && f.Is(file) {
			return f, nil
		}
	}
	return nil, fault.NewFile("cannot tell the format of", file.Name,
		"it looks like no tunnel of a program that is known here",
		"--format NAME says it: wgkeys import --help")
}

// plain tells why the text of a file is not its program's.
func plain(file foreign.File) error {
	text := bytes.TrimLeft(file.Text, " \t\r\n")
	for _, k := range notPlain {
		if bytes.HasPrefix(text, []byte(k.begins)) {
			return fault.NewFile("cannot import", file.Name, k.why, k.hint)
		}
	}
	return nil
}

// notPlain are beginnings of files that hold a tunnel, but not as its program reads it.
var notPlain = []struct{ begins, why, hint string }{
	{"\xef\xbb\xbf", "a byte order mark stands before its text, which no program but an editor reads",
		"sed -i '1s/^\\xef\\xbb\\xbf//' FILE takes it out"},
	{"\xff\xfe", utf16, "iconv -f UTF-16 -t UTF-8 FILE"},
	{"\xfe\xff", utf16, "iconv -f UTF-16 -t UTF-8 FILE"},
	{"\x00GITCRYPT\x00", "git-crypt has encrypted it", "git-crypt unlock, in its repository"},
	{"$ANSIBLE_VAULT;", "ansible-vault has encrypted it", "ansible-vault view FILE has its text"},
	{"age-encryption.org/", encrypted, "age -d FILE has its text"},
	{"-----BEGIN AGE ENCRYPTED FILE-----", encrypted, "age -d FILE has its text"},
	{"-----BEGIN PGP MESSAGE-----", "gpg has encrypted it", "gpg -d FILE has its text"},
	{"network.", "it is what `uci show` prints, and not the file", "uci export network prints the file"},
}

const (
	utf16     = "its text is UTF-16, as Windows' editors write it"
	encrypted = "age has encrypted it"
)

// hasLine tells whether a file has one of some lines, blanks and case apart.
func hasLine(f foreign.File, lines ...string) bool {
	for line := range bytes.Lines(f.Text) {
		if slices.Contains(lines, strings.ToLower(string(bytes.TrimSpace(line)))) {
			return true
		}
	}
	return false
}

func isWGQuick(f foreign.File) bool { return hasLine(f, "[interface]", "[peer]") }

// isNetworkd looks for sections that only files of systemd-networkd have, or at the
// name of a drop-in, which may have any.
func isNetworkd(f foreign.File) bool {
	return strings.HasSuffix(f.Name, "networkd.conf") || strings.Contains(f.Name, ".netdev.d/") ||
		strings.Contains(f.Name, ".network.d/") || strings.Contains(f.Name, "networkd.conf.d/") ||
		hasLine(f, "[netdev]", "[wireguardpeer]") || hasLine(f, "[match]") && strings.HasSuffix(f.Name, ".network")
}

// isNetplan looks for the key that all of netplan's files have, for other programs keep
// YAML too.
func isNetplan(f foreign.File) bool {
	return (strings.HasSuffix(f.Name, ".yaml") || strings.HasSuffix(f.Name, ".yml")) && hasLine(f, "network:")
}

func isKeyfile(f foreign.File) bool {
	return strings.HasSuffix(f.Name, ".nmconnection") || hasLine(f, "[connection]")
}

// isIfupdown looks for the word that begins a stanza of interfaces(5).
func isIfupdown(f foreign.File) bool { return begins(f, "iface") }

// isOpenWrt looks for the word that begins a section of UCI.
func isOpenWrt(f foreign.File) bool { return begins(f, "config") }

// begins tells whether a line begins with a word and goes on.
func begins(f foreign.File, word string) bool {
	for line := range bytes.Lines(f.Text) {
		if w := bytes.Fields(line); len(w) > 1 && string(w[0]) == word {
			return true
		}
	}
	return false
}

// isMeshconf looks at the first column of the table.
func isMeshconf(f foreign.File) bool {
	first, _, _ := bytes.Cut(f.Text, []byte("\n"))
	return bytes.HasPrefix(bytes.ReplaceAll(first, []byte(`"`), nil), []byte("Name,Address,"))
}

func writeJSON(v *tunnel.View, _ foreign.Secrets) ([]foreign.File, error) {
	var b bytes.Buffer
	err := tunnel.EncodeView(&b, v)
	return []foreign.File{{Name: v.Tunnel + ".json", Text: b.Bytes(), Mode: "0644"}}, err
}
