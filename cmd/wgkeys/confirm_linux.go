package main

import (
	"wgkeys/deploy/host"
)

func confirmHere(e *env, name, token string, json bool) error {
	if err := checkOwner(e, name); err != nil {
		return err
	}
	waited, err := host.Confirm(e.ctx, name, host.Options{Token: token,
		Report: func(event host.Event) { tellEvent(e, event, nil) }})
	if err == nil && !waited {
		e.ui.Say("nothing waits to be confirmed on %s", name)
	}
	if err == nil && json {
		return e.ui.JSON(confirmation{name, waited})
	}
	return err
}
