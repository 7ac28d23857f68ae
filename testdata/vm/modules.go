package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// wanted are the modules that the machine has, beside those they depend on.
var wanted = []string{
	"virtio_pci", "virtio_console", // how the tests' output gets out
	"overlay",                                                 // the files of laboratory hosts
	"wireguard", "veth", "dummy", "tun", "bridge", "tcp_diag", // interfaces
	"sch_netem", // delay
	"nf_tables", "nft_chain_nat", "nft_masq", "nft_nat", "nft_ct", "nft_fib_inet", "nft_socket", "nft_reject_inet",
	"nft_queue", "nfnetlink_queue",
	"xfrm_user", // IPsec policies
}

// wantedOnce are modules that not every kernel has any more.
var wantedOnce = []string{
	"crc32c_generic", // which libcrc32c asks for by another name, before Linux 6.14
}

// findModules returns the files of the wanted modules in an order in which
// they can be loaded. depmod(8) may not be there, so it reads what depmod
// reads: the "depends" of each module.
func findModules(dir string) ([]string, error) {
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	// What is built in has no file: modules.builtin lists it.
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for path := range strings.Lines(string(builtin)) {
		name := strings.TrimSuffix(filepath.Base(strings.TrimSpace(path)), ".ko")
		files[moduleName(name)] = ""
	}
	var order []string
	var add func(name string) error
	add = func(name string) error {
		path, ok := files[moduleName(name)]
		if !ok {
			return fmt.Errorf("the kernel in %s has no module %s", dir, name)
		}
		if path == "" || slices.Contains(order, path) {
			return nil
		}
		needs, err := dependsOf(path)
		if err != nil {
			return err
		}
		for _, need := range needs {
			if err := add(need); err != nil {
				return err
			}
		}
		order = append(order, path)
		return nil
	}
	for _, name := range wantedOnce {
		if _, ok := files[name]; !ok {
			continue
		}
		if err := add(name); err != nil {
			return nil, err
		}
	}
	for _, name := range wanted {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName spells a module's name as the kernel does: nft-nat is nft_nat.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// dependsOf reads the modules that a module needs from its .modinfo section,
// a list of key=value strings that end in a zero byte.
func dependsOf(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s is no kernel module", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(entry, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}
