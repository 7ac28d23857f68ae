package foreign

import "maps"

// Each returns a table in which all keys have the same handler.
func Each[H any](h H, keys ...string) map[string]H {
	all := make(map[string]H, len(keys))
	for _, k := range keys {
		all[k] = h
	}
	return all
}

// Together returns a table with the handlers of several. If a key is in more than one, the last
// one counts.
func Together[H any](tables ...map[string]H) map[string]H {
	all := map[string]H{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}
