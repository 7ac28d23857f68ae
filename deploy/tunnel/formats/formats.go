// Package formats lists the formats of other programs that tunnels can be imported from and
// exported to.
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

// A Format is how one program describes a tunnel.
type Format struct {
	Name  string // the argument of --format
	About string // a few words for a list

	// Is reports whether a file is in this format; nil: that cannot be recognised.
	Is func(f foreign.File) bool
	// Parse reads the files of one or several hosts; nil: the format cannot be imported.
	Parse func(files []foreign.File) ([]*foreign.Device, error)
	// Write returns the files for a host's view; nil: the format cannot be exported.
	// Without secrets the files name the host's key files, or Write returns an error.
	Write func(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error)
}

// all are the formats. If a file may be in two of them, the first counts.
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

// Importable returns the format of that name whose files can be read.
func Importable(name string) (*Format, error) { return named(name, ImportNames()) }

// Exportable returns the format of that name whose files can be written.
func Exportable(name string) (*Format, error) { return named(name, ExportNames()) }

// named returns the format of that name if it is one of names.
func named(name string, names []string) (*Format, error) {
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

// ImportNames returns the names of the formats whose files can be read, in order.
func ImportNames() []string { return names(func(f *Format) bool { return f.Parse != nil }) }

// ExportNames returns the names of the formats whose files can be written, in order.
func ExportNames() []string { return names(func(f *Format) bool { return f.Write != nil }) }

func names(wanted func(*Format) bool) (names []string) {
	for i := range all {
		if wanted(&all[i]) {
			names = append(names, all[i].Name)
		}
	}
	return names
}

// of returns the format of a file according to its content.
func of(file foreign.File) (*Format, error) {
	if err := plain(file); err != nil {
		return nil, err
	}
	for i := range all {
		if f := &all[i]; f.Is != nil && f.Is(file) && (f.Name == "netplan" || !userData(file)) {
			return f, nil
		}
	}
	if userData(file) {
		return nil, fault.NewFile("cannot import", file.Name, "it is cloud-init's user data, of which a host makes files of its own",
			"on that host, as root: wgkeys import --live")
	}
	return nil, fault.NewFile("cannot tell the format of", file.Name,
		"it looks like no tunnel of a program that is known here",
		"--format NAME says it: wgkeys import --help")
}

// userData reports whether a file begins as cloud-init's user data does, in which a whole file
// of wg-quick may stand, indented. Files of netplan may begin so, too.
func userData(file foreign.File) bool { return bytes.HasPrefix(file.Text, []byte("#cloud-config")) }

// Stray returns why a file that was found in a folder, and not named, describes no tunnel there,
// or "". Beside tunnels there are key files, scripts and copies.
func Stray(file foreign.File) (why string) {
	if plain(file) != nil {
		return "" // it may be one, and Parse says what hinders
	}
	switch f, err := of(file); {
	case err != nil:
		return "it looks like no tunnel of a program that is known here"
	case f.Name == "wg-quick" && !strings.HasSuffix(file.Name, ".conf"):
		return "wg-quick reads files that end in .conf"
	}
	return ""
}

// plain returns an error if the text of a file is not as its program reads it.
func plain(file foreign.File) error {
	text := bytes.TrimLeft(file.Text, " \t\r\n")
	for _, k := range notPlain {
		if bytes.HasPrefix(text, []byte(k.begins)) {
			hint := strings.ReplaceAll(k.hint, "FILE", words.ForShell(file.Name))
			return fault.NewFile("cannot import", file.Name, k.why, hint)
		}
	}
	return nil
}

// notPlain are beginnings of files that hold a tunnel in another form than its program
// reads. FILE in a hint is the file.
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
	{"interface: ", "it is what `wg show` prints, which has no keys",
		"wg showconf wg0, as root on that host, prints a file with them"},
	{"network.", "it is what `uci show` prints, and not the file", "uci export network prints the file"},
}

const (
	utf16     = "its text is UTF-16, as Windows' editors write it"
	encrypted = "age has encrypted it"
)

// hasLine reports whether a file has one of the lines, regardless of blanks and case.
func hasLine(f foreign.File, lines ...string) bool {
	for line := range bytes.Lines(f.Text) {
		if slices.Contains(lines, strings.ToLower(string(bytes.TrimSpace(line)))) {
			return true
		}
	}
	return false
}

func isWGQuick(f foreign.File) bool { return hasLine(f, "[interface]", "[peer]") }

// isNetworkd looks for sections that only systemd-networkd has. A drop-in may have any
// sections, and is recognised by its name.
func isNetworkd(f foreign.File) bool {
	return strings.HasSuffix(f.Name, "networkd.conf") || strings.Contains(f.Name, ".netdev.d/") ||
		strings.Contains(f.Name, ".network.d/") || strings.Contains(f.Name, "networkd.conf.d/") ||
		hasLine(f, "[netdev]", "[wireguardpeer]") || hasLine(f, "[match]") && strings.HasSuffix(f.Name, ".network")
}

// isNetplan looks for the top-level key of netplan, because other programs have YAML files
// too.
func isNetplan(f foreign.File) bool {
	if !strings.HasSuffix(f.Name, ".yaml") && !strings.HasSuffix(f.Name, ".yml") {
		return false
	}
	for line := range bytes.Lines(f.Text) {
		if bytes.HasPrefix(line, []byte("network:")) { // a comment or a mapping may follow
			return true
		}
	}
	return hasLine(f, "network:")
}

func isKeyfile(f foreign.File) bool {
	return strings.HasSuffix(f.Name, ".nmconnection") || hasLine(f, "[connection]")
}

// isIfupdown looks for the word that begins a stanza of interfaces(5).
func isIfupdown(f foreign.File) bool { return begins(f, "iface") }

// isOpenWrt looks for the word that begins a section of UCI.
func isOpenWrt(f foreign.File) bool { return begins(f, "config") }

// begins reports whether a line begins with word and has further words.
func begins(f foreign.File, word string) bool {
	for line := range bytes.Lines(f.Text) {
		if w := bytes.Fields(line); len(w) > 1 && string(w[0]) == word {
			return true
		}
	}
	return false
}

// isMeshconf looks at the first columns of the table.
func isMeshconf(f foreign.File) bool {
	first, _, _ := bytes.Cut(f.Text, []byte("\n"))
	return bytes.HasPrefix(bytes.ReplaceAll(first, []byte(`"`), nil), []byte("Name,Address,"))
}

func writeJSON(v *tunnel.View, _ foreign.Secrets) ([]foreign.File, error) {
	var b bytes.Buffer
	err := tunnel.EncodeView(&b, v)
	return []foreign.File{{Name: v.Tunnel + ".json", Text: b.Bytes(), Mode: "0644"}}, err
}
