package files

// read lists the open folder into t.found.
func (t *taker) read(h handle) error {
	t.found = t.found[:0]
	dir, err := h.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	for _, e := range entries {
		t.found = append(t.found, found{e.Name(), e.Type()})
	}
	return err
}
