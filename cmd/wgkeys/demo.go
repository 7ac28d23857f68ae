package main

import "github.com/urfave/cli/v2"

func demoCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{Name: "demo", Usage: "show it all on three hosts made of namespaces"}, func(e *env) error { return nil }
}
