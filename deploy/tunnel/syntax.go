package tunnel

import "strings"

// NotTOML says what is wrong in the place where the parser stopped, by what people write
// instead of TOML. The parser's own message is kept where it names no character: one of
// them could be the beginning of a key.
func NotTOML(message string, rest []byte) string {
	word, _, _ := strings.Cut(string(rest[:min(len(rest), maxKey)]), "\n")
	switch {
	case strings.HasSuffix(message, "strings cannot have new lines"), strings.HasPrefix(message, "unterminated "):
		return "the text has no quotation mark at its end"
	case strings.HasSuffix(message, "at start of value"), strings.HasPrefix(message, "expected keyword"),
		strings.HasPrefix(message, "expected value, not"), strings.HasPrefix(message, "expected value but"):
		return noValue(word)
	case strings.HasPrefix(message, "expected newline"):
		return afterValue(word)
	case message == "expected '=' after key" && strings.HasPrefix(word, ":"):
		return "a key and its value are separated by =, and not by a colon"
	case message == "strings must be quoted":
		return "a number has no unit, and a text is in quotes"
	case strings.HasPrefix(message, "invalid character at start of key") && strings.HasPrefix(word, "//"):
		return "a comment begins with #, and not with //"
	case strings.HasPrefix(message, "invalid character at start of key"), message == "expected '=' after key":
		return "a line is a KEY = VALUE, a [TABLE] or a # comment"
	case message == "array is incomplete":
		return "the list has no ] at its end"
	case message == "inline table is incomplete":
		return "the table has no } at its end"
	case strings.Contains(message, "U+"):
		return "a character that TOML does not have here"
	}
	return message
}

// noValue says what is wrong with a value that is none.
func noValue(word string) string {
	word, _, _ = strings.Cut(word, "#")
	switch word = strings.TrimRight(word, " \t\r,;]}"); strings.ToLower(word) {
	case "":
		return "the value is missing"
	case "true", "false", "yes", "no", "on", "off":
		return "write true or false, in small letters and without quotes"
	}
	return `a text is in quotes: "TEXT"`
}

// afterValue says what is wrong with what stands behind a value.
func afterValue(rest string) string {
	odd, comment := rest[:min(1, len(rest))], strings.IndexByte(rest, '#')
	if comment >= 0 {
		rest = rest[:comment]
	}
	switch {
	case odd != "," && odd != ";":
		return `a text is in quotes, "TEXT", and each key is on a line of its own`
	case strings.Trim(rest, ",; \t\r") == "":
		return "only a comment may follow a value: leave the " + odd + " out"
	}
	return `several values are a list in brackets: ["A", "B"]`
}
