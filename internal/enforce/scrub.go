package enforce

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	redacted       = "[REDACTED]"
	truncated      = "[TRUNCATED]"
	maxScrubDepth  = 8
	maxScrubItems  = 100
	maxScrubString = 4096
)

// sensitive are words in a key that make its value a secret.
var sensitive = []string{
	"password", "passwd", "pwd", "passcode", "secret", "token", "apikey", "authorization",
	"bearer", "jwt", "cookie", "sessionid", "csrf", "creditcard", "ssn",
}

// Scrub returns a copy of a match's metadata that is safe to store and emit. It redacts values of
// sensitive keys, regardless of case and separators, and bounds depth, number of items and length
// of strings.
func Scrub(metadata map[string]any) map[string]any {
	if metadata == nil {
		return nil
	}
	return scrubMap(metadata, 0)
}

func scrubMap(m map[string]any, depth int) map[string]any {
	out := make(map[string]any, min(len(m), maxScrubItems))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if len(out) == maxScrubItems {
			out[truncated] = truncated
			break
		}
		if isSensitive(key) {
			out[key] = redacted
			continue
		}
		out[key] = scrubValue(m[key], depth+1)
	}
	return out
}

func scrubValue(v any, depth int) any {
	switch v := v.(type) {
	case string:
		return cut(v)
	case map[string]any:
		if depth >= maxScrubDepth {
			return truncated
		}
		return scrubMap(v, depth)
	case []any:
		if depth >= maxScrubDepth {
			return truncated
		}
		return scrubList(v, func(item any) any { return scrubValue(item, depth+1) })
	case []string:
		return scrubList(v, func(item string) any { return cut(item) })
	case nil, bool, int, int64, float64:
		return v
	}
	return cut(fmt.Sprint(v))
}

func scrubList[T any](list []T, scrub func(T) any) []any {
	out := make([]any, 0, min(len(list), maxScrubItems+1))
	for i, item := range list {
		if i == maxScrubItems {
			return append(out, truncated)
		}
		out = append(out, scrub(item))
	}
	return out
}

func cut(s string) string {
	if len(s) <= maxScrubString {
		return s
	}
	end := maxScrubString
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + truncated
}

func isSensitive(key string) bool {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, key)
	return slices.ContainsFunc(sensitive, func(word string) bool { return strings.Contains(plain, word) })
}
