package ingress

import "strings"

// Patterns are regular expressions, as a flag and in the configuration file. Commas separate them,
// except within brackets and behind a backslash, where they are the expression's own.
type Patterns []string

// String returns them in one text.
func (p *Patterns) String() string { return strings.Join(*p, ",") }

// Type names the type of the flag in a command's help.
func (p *Patterns) Type() string { return "patterns" }

// Set adds the patterns of one text.
func (p *Patterns) Set(text string) error {
	*p = append(*p, p.Split(text)...)
	return nil
}

// Append adds one pattern. With Replace and GetSlice it makes Patterns a pflag.SliceValue.
func (p *Patterns) Append(text string) error {
	*p = append(*p, text)
	return nil
}

// Replace puts others in place of them.
func (p *Patterns) Replace(texts []string) error {
	*p = texts
	return nil
}

// GetSlice returns them one by one.
func (p *Patterns) GetSlice() []string { return *p }

// Split returns the patterns of one text.
func (Patterns) Split(text string) []string {
	var out []string
	depth, start := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ',':
			if depth <= 0 {
				out = append(out, text[start:i])
				start = i + 1
			}
		}
	}
	out = append(out, text[start:])
	kept := out[:0]
	for _, pattern := range out {
		if pattern = strings.TrimSpace(pattern); pattern != "" {
			kept = append(kept, pattern)
		}
	}
	return kept
}
