package main

import (
	"wgkeys/deploy/host"
)

func confirmHere(e *env, name string) error {
	if err := checkOwner(e, name); err != nil {
		return err
	}
	waited, err := host.Confirm(e.ctx, name, host.Options{Token: e.cli.String("token"),
		Report: func(event host.Event) { tellEvent(e, event, nil) }})
	if err == nil && !waited {
		e.ui.Say("nothing waits to be confirmed on %s", name)
	}
	if err == nil && e.cli.Bool("json") {
		return e.ui.JSON(confirmation{name, waited})
	}
	return err
}
