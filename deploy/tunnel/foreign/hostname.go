package foreign

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxHostName leaves room for a number in the 63 bytes that the name of a host may have.
const maxHostName = 50

// HostName turns a text into a valid name of a host: lower-case letters, digits, "-" and
// "_". Letters of other alphabets are transliterated if they can be. It returns "" if
// nothing is left.
func HostName(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	gap, lost := false, false
	for _, r := range ascii(strings.ToLower(text)) {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '_' {
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteRune(r)
		} else {
			gap = true
			lost = lost || unicode.IsLetter(r)
		}
	}
	name := strings.Trim(b.String()[:min(b.Len(), maxHostName)], "-_")
	if lost && strings.Trim(name, "0123456789-_") == "" {
		return "" // only digits are left of a text in other letters
	}
	return name
}

// ascii transliterates a text in lower case to ASCII as far as it can. Diacritics are
// separated from their letters and dropped (Unicode Normalization Form D).
func ascii(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range norm.NFC.String(text) { // й is a letter of its own, not и with a breve
		if as, ok := spelled[r]; ok {
			b.WriteString(as)
			continue
		}
		for _, part := range norm.NFKD.String(string(r)) {
			as, ok := spelled[part]
			switch {
			case ok:
				b.WriteString(as)
			case !unicode.Is(unicode.Mn, part):
				b.WriteRune(unicode.ToLower(part))
			}
		}
	}
	return b.String()
}

// spelled has the transliteration of letters that are not an ASCII letter with a diacritic:
// of the Latin alphabet, of the Cyrillic alphabet (roughly BGN/PCGN for Russian, Ukrainian
// and Serbian), and of the Greek alphabet (ELOT 743, letter by letter).
var spelled = map[rune]string{
	'æ': "ae", 'œ': "oe", 'ø': "o", 'ß': "ss", 'đ': "d", 'ð': "d", 'þ': "th", 'ł': "l", 'ħ': "h", 'ı': "i",
	'ŋ': "ng", 'ŧ': "t", 'ə': "e", 'ƒ': "f",

	'а': "a", 'б': "b", 'в': "v", 'г': "g", 'ґ': "g", 'д': "d", 'ђ': "dj", 'е': "e", 'ё': "yo", 'є': "ye", 'ж': "zh",
	'з': "z", 'и': "i", 'і': "i", 'ї': "i", 'й': "y", 'ј': "j", 'к': "k", 'л': "l", 'љ': "lj", 'м': "m", 'н': "n",
	'њ': "nj", 'о': "o", 'п': "p", 'р': "r", 'с': "s", 'т': "t", 'ћ': "c", 'у': "u", 'ў': "w", 'ф': "f", 'х': "kh",
	'ц': "ts", 'ч': "ch", 'џ': "dz", 'ш': "sh", 'щ': "shch", 'ъ': "", 'ы': "y", 'ь': "", 'э': "e", 'ю': "yu", 'я': "ya",

	'α': "a", 'β': "v", 'γ': "g", 'δ': "d", 'ε': "e", 'ζ': "z", 'η': "i", 'θ': "th", 'ι': "i", 'κ': "k", 'λ': "l",
	'μ': "m", 'ν': "n", 'ξ': "x", 'ο': "o", 'π': "p", 'ρ': "r", 'σ': "s", 'ς': "s", 'τ': "t", 'υ': "y", 'φ': "f",
	'χ': "ch", 'ψ': "ps", 'ω': "o",
}
