package strictconfig

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// joinScalars repairs what the lexer does inside {…}: it takes every colon for
// the end of a key, although "audit:events" or "fe80::/10" in
// {names: [audit:events]} is one scalar by YAML's rules, where only a colon with
// a blank after it ends a plain key.
func joinScalars(tokens token.Tokens) token.Tokens {
	var out token.Tokens
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		if t.Type != token.MappingValueType || i+1 == len(tokens) || !isPlainScalar(tokens[i+1]) || !adjacent(t, tokens[i+1]) {
			out.Add(t)
			continue
		}
		next := tokens[i+1]
		switch last := lastOf(out); {
		case last != nil && isPlainScalar(last) && adjacent(last, t):
			out[len(out)-1] = joined(last, last.Value+":"+next.Value, last.Origin+t.Origin+next.Origin)
			i++
		case last != nil && (last.Type == token.SequenceStartType || last.Type == token.CollectEntryType):
			out.Add(joined(t, ":"+next.Value, t.Origin+next.Origin))
			i++
		default:
			out.Add(t)
		}
	}
	return relinked(out)
}

func lastOf(tokens token.Tokens) *token.Token {
	if len(tokens) == 0 {
		return nil
	}
	return tokens[len(tokens)-1]
}

func joined(at *token.Token, value, origin string) *token.Token {
	return token.New(value, origin, at.Position)
}

// relinked returns the tokens with their links to one another set anew.
func relinked(tokens token.Tokens) token.Tokens {
	var out token.Tokens
	for _, t := range tokens {
		t.Prev, t.Next = nil, nil
		out.Add(t)
	}
	return out
}

func isPlainScalar(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.BoolType, token.NullType, token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType,
		token.HexIntegerType, token.FloatType, token.InfinityType, token.NanType:
		return true
	default:
		return false
	}
}

// adjacent reports whether b begins where a ends.
func adjacent(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}
