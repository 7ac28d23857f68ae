package main

import (
	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/ui"
)

func doDemo(e *env) error {
	if len(e.names()) > 0 {
		return ui.Usage("no names for", "wgkeys demo", "it makes hosts of its own", "wgkeys demo")
	}
	return demo.Run(e.ctx, e.ui.Printf)
}
