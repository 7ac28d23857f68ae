package meshconf

import (
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

func TestGolden(t *testing.T) { foreigntest.GoldenEach(t, Parse, "testdata/corpus", "testdata/more") }

const private = "mNDeMvdH/tuNhASNTKWaGY3V4mbTAu/zTgWY7r+gtk8="

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"Name,Adress,PrivateKey\na,10.0.0.1/24," + private + "\n", []string{"db:1", "did you mean Address?"}},
		{"Name,Address,PrivateKey\na,10.0.0.1/99," + private + "\n", []string{"db:2", "10.0.0.1/99"}},
		{"Name,Address,PrivateKey\na,10.0.0.1/24,\n", []string{"db:2", "no PrivateKey", "wg-meshconf init"}},
		{"Name,Address,PrivateKey\na,10.0.0.1/24,<key>\n", []string{"db:2", "placeholder"}},
		{"Name,PrivateKey\na," + private + "\n\n\na," + private + "\n", []string{"db:5", "that of another one"}},
		{"Name,Endpoint,PrivateKey\na,a.example.net," + private + "\n", []string{"db:2", "needs a ListenPort"}},
		{"Name,PrivateKey\na," + private + ",x\n", []string{"db:2", "CSV"}},
		{"Name,PrivateKey\n\"a," + private + "\n", []string{"db:2", "CSV"}},
		{"Name,PrivateKey\n", []string{"db:1", "no host"}},
		{"", []string{"db:1", "empty"}},
		{"Name,PrivateKey,PresharedKeys\na," + private + ",b:" + private + "\n", []string{"db:2", "NAME:NAME:KEY"}},
		{"Name,PrivateKey,MTU\na," + private + "," + private + "\n", []string{"db:2", "MTU"}},
	} {
		_, err := Parse([]foreign.File{{Name: "db", Text: []byte(c.text)}})
		foreigntest.Refused(t, c.text, err, private, c.want)
	}
}

// TestNames: the interface is named after the file if that has a name of its own, and hosts
// get valid names. Preshared keys are found by the names in the database.
func TestNames(t *testing.T) {
	for file, want := range map[string]string{
		"database.csv": "wg0", "net/mesh1.csv": "mesh1", "a database of mine.csv": "wg0",
	} {
		devices, err := Parse([]foreign.File{{Name: file, Text: []byte("Name,PrivateKey\na," + private + "\n")}})
		if err != nil || devices[0].Name != want {
			t.Errorf("%s: %v, %v", file, devices, err)
		}
	}
	text := "Name,PrivateKey,PresharedKeys\n" +
		"Zoë's Laptop," + newKey(t) + ",Zoë's Laptop:zoe-s-laptop:" + private + "\n" +
		"zoe-s-laptop," + newKey(t) + ",\nZOE'S LAPTOP," + newKey(t) + ",\n电话," + newKey(t) + ",\n"
	devices, err := Parse([]foreign.File{{Name: "db", Text: []byte(text), Interface: "wg3"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range devices {
		got = append(got, d.Name+" "+d.Host+" "+d.Description)
	}
	want := []string{"wg3 zoe-s-laptop-2 Zoë's Laptop", "wg3 zoe-s-laptop ", "wg3 zoe-s-laptop-3 ZOE'S LAPTOP",
		"wg3 host-4 电话"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	p := devices[0].Peers
	if p[0].Name != "zoe-s-laptop" || p[0].PresharedKey.IsZero() || !p[1].PresharedKey.IsZero() {
		t.Errorf("%+v", p)
	}
}

func newKey(t *testing.T) string {
	k, err := keyring.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(k.File()))
}

func FuzzParse(f *testing.F) {
	none := func(*tunnel.View, foreign.Secrets) ([]foreign.File, error) {
		return nil, fault.New("not written", "wg-meshconf", "it is only read", "")
	}
	foreigntest.Fuzz(f, foreigntest.Files(f, "testdata"), "database.csv", Parse, none)
}
