package remote

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/lazyregexp"
	"wgkeys/keyring/words"
)

// An adviser passes on what wgkeys says on a host, with its hints as they are to be run on
// this machine: there "wgkeys apply" would be for this machine.
type adviser struct {
	w      io.Writer
	t      *tunnel.Tunnel
	host   string
	line   []byte // that is not complete yet
	limits limits // of the host, which were kept to

	refused string // by its name, what an older wgkeys refuses and can do without
	muted   bool   // the next hint is that of this refusal
}

// longest is a bound for a line that is kept until it is complete, in bytes.
const longest = 64 << 10

func (a *adviser) Write(p []byte) (int, error) {
	a.line = append(a.line, p...)
	end := bytes.LastIndexByte(a.line, '\n') + 1
	if end == 0 && len(a.line) < longest {
		return len(p), nil
	}
	if end == 0 {
		end = len(a.line)
	}
	var text strings.Builder
	for line := range bytes.Lines(a.line[:end]) {
		text.WriteString(a.adapt(string(line)))
	}
	a.line = append(a.line[:0], a.line[end:]...)
	_, err := io.WriteString(a.w, text.String())
	return len(p), err
}

// flush passes on a line that was not completed.
func (a *adviser) flush() error {
	_, err := io.WriteString(a.w, a.adapt(string(a.line)))
	a.line = nil
	return err
}

func (a *adviser) adapt(line string) string {
	text := strings.TrimRight(line, "\r\n")
	if name := needless(text); name != "" && a.limits.learn(name) {
		a.refused, a.muted = name, true
		return ""
	}
	if a.muted && strings.HasPrefix(text, hintPrefix) {
		a.muted = false
		return ""
	}
	hint, ok := strings.CutPrefix(text, hintPrefix)
	if !ok {
		return a.message(text) + line[len(text):]
	}
	return hintPrefix + fromHere(a.t, a.host, hint) + line[len(text):]
}

// message returns a message as it is to be read on this machine, if it ends with commands to run.
func (a *adviser) message(text string) string {
	at := strings.LastIndex(text, ": ") + len(": ")
	if !strings.HasPrefix(text, "wgkeys: ") || at < len("wgkeys: ")+1 {
		return text
	}
	commands := strings.Split(text[at:], afterwards)
	for i, c := range commands {
		if !ownCommand().MatchString(c) {
			return text
		}
		commands[i] = fromHere(a.t, a.host, c)
	}
	return text[:at] + strings.Join(commands, afterwards)
}

// afterwards stands between two commands of a message.
const afterwards = ", then "

// needless is the name of what an older wgkeys does not know, if this line is its refusal and it
// can do without; otherwise "".
func needless(line string) string {
	if !strings.HasPrefix(line, "wgkeys: error: ") {
		return ""
	}
	for _, flag := range []string{ui.EndFlag, ui.OfFlag} {
		if strings.HasSuffix(line, "there is no flag --"+flag) {
			return flag
		}
	}
	if key := tunnel.UnknownKey(line); tunnel.OnlyDiagnosis(key) {
		return key
	}
	return ""
}

const hintPrefix = "wgkeys: hint: "

// fromHere is a hint of a host as it is to be read on this machine.
func fromHere(t *tunnel.Tunnel, host, hint string) string {
	if !ownCommand().MatchString(hint) {
		return "as " + host + " says: " + ofTunnel(t, hint)
	}
	line := strings.Fields(strings.TrimPrefix(hint, "sudo "))
	verb, rest := line[1], line[2:]
	switch {
	case verb == "import" || slices.Contains(rest, "--kept"): // they work on the host itself
		return "on " + host + ": " + hint
	case !slices.Contains([]string{"apply", "confirm", "down", "install", "plan", "push", "status"}, verb):
		return strings.Join(line, " ")
	}
	command := t.Commands.Run(verb)
	var flags, hosts []string
	for i := 0; i < len(rest); i++ {
		switch word := rest[i]; {
		case word == "-t":
			if i++; i < len(rest) && rest[i] != t.Name { // install and uninstall work on all tunnels of a host
				command = words.Commands{Tunnel: rest[i]}.Run(verb)
			}
		case word == "--confirm":
			flags = append(flags, rest[i:min(i+2, len(rest))]...)
			i++
		case strings.HasPrefix(word, "-"):
			flags = append(flags, word)
		default:
			hosts = append(hosts, word)
		}
	}
	if hosts == nil {
		hosts = []string{words.ForShell(host)}
	}
	return strings.Join(slices.Concat([]string{command}, flags, hosts), " ")
}

// ofTunnel names the tunnel in the commands of a hint: a host does not know that the repository has
// others.
func ofTunnel(t *tunnel.Tunnel, hint string) string {
	if t.Commands.Tunnel == "" {
		return hint
	}
	return commandsInside().ReplaceAllStringFunc(hint, func(command string) string {
		if strings.Contains(command, " -t ") {
			return command
		}
		verb := strings.Fields(command)[1]
		return t.Commands.Run(verb) + strings.TrimPrefix(command, "wgkeys "+verb)
	})
}

// commandsInside matches the commands in a hint that are about one tunnel.
var commandsInside = lazyregexp.New(`wgkeys (apply|confirm|down|plan|push|rotate)( [A-Za-z0-9@./_=+-]+)*`)

// ownCommand matches a hint that runs one command of this program and nothing else.
var ownCommand = lazyregexp.New(`^(sudo )?wgkeys [a-z]+( [A-Za-z0-9@.:/_=+-]+)*$`)
