package keyring

import "testing"

func TestCheckPortable(t *testing.T) {
	for name, portable := range map[string]bool{
		"con": false, "CON": false, "con.x": false, "prn": false, "aux": false, "nul": false, "com1": false, "lpt9": false,
		"com0": true, "com10": true, "com": true, "console": true, "x.con": true, "wg0": true, "shale": true,
	} {
		if err := CheckPortable(name); (err == nil) != portable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
