package wgquick

import (
	"bytes"
	"slices"
	"strings"
)

// appKeys are all that WireGuard's apps for telephones know: they refuse a configuration with any
// other (Interface.parse and Peer.parse of WireGuard for Android;
// TunnelConfiguration+WgQuickConfig of WireGuard for iOS).
var appKeys = []string{
	"PrivateKey", "ListenPort", "Address", "DNS", "MTU",
	"PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive",
}

// UnknownToApps returns the keys of a configuration that the apps do not know, each once.
func UnknownToApps(text []byte) (keys []string) {
	for line := range bytes.Lines(text) {
		key, _, found := bytes.Cut(line, []byte("="))
		name := string(bytes.TrimSpace(key))
		if found && !strings.HasPrefix(name, "#") && !slices.Contains(appKeys, name) && !slices.Contains(keys, name) {
			keys = append(keys, name)
		}
	}
	return keys
}
