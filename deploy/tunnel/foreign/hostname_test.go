package foreign

import (
	"testing"

	"wgkeys/keyring"
)

func TestHostName(t *testing.T) {
	for text, want := range map[string]string{
		"phone":       "phone",
		"Bob's Phone": "bob-s-phone",
		"Zoë’s":       "zoe-s", "Zoë": "zoe",
		"Zoe\u0308":              "zoe", // decomposed
		"Straße 7":               "strasse-7",
		"STRASSE ẞ":              "strasse-ss",
		"İstanbul":               "istanbul",
		"Łódź":                   "lodz",
		"Đà Nẵng":                "da-nang",
		"Þórður":                 "thordur",
		"œuvre":                  "oeuvre",
		"телефон Юрия":           "telefon-yuriya",
		"Київ":                   "kiiv",
		"Андрей":                 "andrey",
		"Андреи\u0306":           "andrey",
		"Αθήνα":                  "athina",
		"ｗｉｄｅ":                   "wide",
		"№ 5":                    "no-5",
		"电话":                     "",
		"电话 1":                   "", // the 1 alone would mean nothing
		"电话 phone":               "phone",
		"7":                      "7",
		"10.0.0.7":               "10-0-0-7",
		"---":                    "",
		"_x_":                    "x",
		"a\xffb":                 "a-b",
		"\u0308\u0308":           "",
		"😀 desk":                 "desk",
		string(make([]byte, 99)): "",
	} {
		got := HostName(text)
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if got != "" && keyring.CheckHost(got) != nil {
			t.Errorf("%q: %v", text, keyring.CheckHost(got))
		}
	}
}
