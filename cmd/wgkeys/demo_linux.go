package main

import "wgkeys/cmd/internal/demo"

func doDemo(e *env) error { return demo.Run(e.ctx, e.ui.Printf) }
