package main

import (
	"os"
	"path/filepath"

	"wgkeys/vault"
)

// identities are looked for where users of age and sops keep them. Nothing is read before a
// file has to be decrypted.
func (e *env) identities() *vault.Identities {
	var places []vault.Place
	for _, path := range e.cli.StringSlice("identity") {
		places = append(places, vault.Place{Path: path, Why: "-i", Explicit: true})
	}
	if places == nil {
		places = defaultPlaces()
	}
	ids := vault.FindIdentities(places...)
	ids.Asker = e.ui
	return ids
}

// ownIdentities are those of the user if -i names others for this command; otherwise nil.
func ownIdentities(e *env) *vault.Identities {
	if len(e.cli.StringSlice("identity")) == 0 {
		return nil
	}
	return vault.FindIdentities(defaultPlaces()...)
}

// warnLoose warns of identity files that were read, and that others can read, too.
func (e *env) warnLoose(ids *vault.Identities) {
	for _, w := range ids.Warnings() {
		e.ui.Warn(w)
	}
}

func defaultPlaces() []vault.Place {
	var places []vault.Place
	for _, name := range []string{"WGKEYS_IDENTITY", "SOPS_AGE_KEY_FILE"} {
		if path := os.Getenv(name); path != "" {
			places = append(places, vault.Place{Path: path, Why: name, Explicit: true})
		}
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return places
	}
	return append(places,
		vault.Place{Path: filepath.Join(config, "wgkeys", "identity.txt"), Why: "the default"},
		vault.Place{Path: filepath.Join(config, "sops", "age", "keys.txt"), Why: "sops' default"})
}
