package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"wgkeys/keyring"
)

// start: what each command costs before it does anything. Fifty starts are one run.
func (b *bench) start() {
	fifty := func(program string) func() float64 {
		return func() float64 {
			return b.clock("sh", "-c", "for i in $(seq 50); do \"$1\" --version >/dev/null; done", "sh", program)
		}
	}
	b.row(contest{name: "start", beside: "`age --version`", bar: "at most 1.3", ours: fifty(b.wgkeys),
		theirs: fifty("age")})
	size := func(path string) func() float64 {
		return func() float64 {
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			return float64(info.Size())
		}
	}
	age, err := exec.LookPath("age")
	if err != nil {
		b.Fatal(err)
	}
	b.row(contest{name: "size of the program", beside: "`age`", ours: size(b.wgkeys), theirs: size(age)})
}

// repository is an empty one, with a classic identity alone.
func (b *bench) repository(name string) string {
	dir := filepath.Join(b.dir, name)
	os.RemoveAll(dir)
	b.clock(b.wgkeys, "init", "-q", "--classic", dir)
	return dir
}

const genLoop = `cd "$1" && for i in $(seq "$2"); do mkdir -p vault/h$i keyring/h$i && wg genkey | tee key |
age -a -R vault/recipients.txt >vault/h$i/wg0.key.age && wg pubkey <key >keyring/h$i/wg0.pub || exit 1; done; rm -f key`

func (b *bench) generate() {
	var net string
	hosts := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("h%d", i))
		}
		return names
	}
	b.row(contest{name: "1,000 keys made", beside: "`wg genkey`, `age`, a loop", faster: true,
		ready: func() { net = b.repository("gen") },
		ours: func() float64 {
			return b.clock(b.wgkeys, append([]string{"gen", "-q", "-t", "wg0", "-C", net}, hosts(1000)...)...)
		},
		theirs: func() float64 { return b.clock("sh", "-c", genLoop, "sh", net, "1000") },
	})
}

func (b *bench) rekey() {
	for _, hosts := range []int{1000, 10_000} {
		f := newFigures(b.T, filepath.Join(b.dir, fmt.Sprint("rekey", hosts)), hosts, false)
		kept := filepath.Join(f.dir, "kept")
		b.clock("cp", "-a", f.net, kept)
		copies := 0
		again := func() { // a new copy each time: see newFigures for what removed files cost
			copies++
			f.net = filepath.Join(f.dir, fmt.Sprint("net", copies))
			b.clock("cp", "-a", kept, f.net)
		}
		ours := func() float64 { return b.clock(b.wgkeys, "rekey", "-q", "-C", f.net, "-i", f.alice) }
		name := fmt.Sprintf("%d,000 keys encrypted again", hosts/1000)
		b.row(contest{name: name, beside: "the bare cryptography of age", bar: "at most 1.6", ready: again, ours: ours,
			theirs: func() float64 { return f.bare(b.T, hosts).Seconds() }})
		if hosts > 1000 {
			continue
		}
		b.row(contest{name: name, beside: "`age -d | age -R`, a loop", bar: "at least 8", faster: true, ready: again,
			ours:   ours,
			theirs: func() float64 { return timed(b.T, ageLoop, f.net, f.alice).Seconds() }})
		if sops := os.Getenv("SOPS"); sops != "" {
			f.sops(b.T, hosts)
			b.clock("cp", "-a", filepath.Join(f.dir, "sops"), filepath.Join(f.dir, "sops.kept"))
			b.row(contest{name: name, beside: "`sops updatekeys`, a loop", bar: "at least 20", faster: true, ours: ours,
				ready: func() {
					again()
					b.clock("rsync", "-a", "--delete", "--checksum", filepath.Join(f.dir, "sops.kept")+"/",
						filepath.Join(f.dir, "sops")+"/")
				},
				theirs: func() float64 { return timed(b.T, sopsLoop, f.dir, f.alice).Seconds() }})
		}
	}
}

func (b *bench) check() {
	net := newLargeRepo(b.T, manyHosts)
	b.clock("sh", "-c", `cd "$1" && git init -q && git add -A && git -c user.name=a -c user.email=a@example.net commit -qm one`, "sh", net)
	b.row(contest{name: "check of 10,000 hosts, processor time", beside: "`git status`", bar: "at most 3",
		ours:   func() float64 { return b.processors(b.wgkeys, "check", "-C", net) },
		theirs: func() float64 { return b.processors("git", "-C", net, "status") }})
}

// view: one host of ten thousand, which is the only work of a host's look at a large tunnel,
// beside the parsing of the same TOML by the library alone, within this process.
func (b *bench) view() {
	net := newLargeRepo(b.T, manyHosts)
	path := filepath.Join(net, "tunnels", "wg0.toml")
	b.row(contest{name: "what one host of 10,000 sees", beside: "go-toml, the same file into a map",
		ours: func() float64 { return b.clock(b.wgkeys, "show", "--json", "-C", net, "h5000") },
		theirs: func() float64 {
			return seconds(func() {
				text, err := os.ReadFile(path)
				if err != nil {
					b.Fatal(err)
				}
				var tree map[string]any
				if err := toml.Unmarshal(text, &tree); err != nil {
					b.Fatal(err)
				}
			})
		}})
}

// peersFile is a file of wg(8) with so many peers.
func (b *bench) peersFile(peers int) (path string) {
	b.Helper()
	var wg strings.Builder
	private := func() keyring.PrivateKey {
		k, err := keyring.GeneratePrivateKey()
		if err != nil {
			b.Fatal(err)
		}
		return k
	}
	fmt.Fprintf(&wg, "[Interface]\nPrivateKey = %sListenPort = 51820\n", private().File())
	for i := range peers {
		fmt.Fprintf(&wg, "[Peer]\nPublicKey = %s\nEndpoint = 192.0.2.%d:%d\nAllowedIPs = 10.%d.%d.%d/32\n",
			private().PublicKey(), i%250+1, 1024+i, 1+i>>16, i>>8&255, i&255)
	}
	path = filepath.Join(b.dir, "wg0.conf")
	if err := os.WriteFile(path, []byte(wg.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func (b *bench) imports() {
	conf := b.peersFile(manyHosts)
	b.row(contest{name: "import of 10,000 peers, shown, processor time", beside: "`wg setconf` reading it",
		bar:  "at most 2",
		ours: func() float64 { return b.processors(b.wgkeys, "import", "-n", "--host", "hub", conf) },
		theirs: func() float64 {
			return b.processors("sh", "-c", "wg setconf none \"$1\" 2>/dev/null; true", "sh", conf)
		}})
}
