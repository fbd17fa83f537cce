package rules

import (
	"maps"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

type suspiciousProxyHeaderParams struct {
	Said `yaml:",inline"`
}

// suspiciousProxyHeader matches events whose proxy headers claim another
// client than source.address.
type suspiciousProxyHeader struct{ base }

func newSuspiciousProxyHeader(spec Spec, _ *shared) (Rule, error) {
	p := suspiciousProxyHeaderParams{
		Said{Severity: 6, Message: "Proxy headers claimed a different client identity", Tags: []string{"proxy", "spoofing"}},
	}
	if err := decode(spec, &p, &p.Said, nil); err != nil {
		return nil, err
	}
	return &suspiciousProxyHeader{base{spec.Name, Wants{Any: true}, p.Said, defaultCooldown}}, nil
}

func (r *suspiciousProxyHeader) Judge(e *event.Event, _ []int) (Match, bool) {
	v, _ := e.Get("proxy_headers")
	headers, ok := v.(map[string]any)
	if !ok || e.Text("trusted_route") == "true" {
		return Match{}, false
	}
	source := e.Scope(checker.ScopeIP)
	var suspicious []string
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if claimsAnother(name, headers[name], source) {
			suspicious = append(suspicious, name)
		}
	}
	if len(suspicious) == 0 {
		return Match{}, false
	}
	return r.match(source, map[string]any{"header_count": len(headers), "suspicious_headers": suspicious}), true
}

// claimsAnother reports whether a header says that the client is not source:
// it names another address, or something that is none.
func claimsAnother(header string, value any, source string) bool {
	header = strings.ToLower(header)
	if aboutSomethingElse(header) {
		return false
	}
	own, claims := 0, claimedClients(header, value)
	for _, claim := range claims {
		if addr, ok := checker.ParseAddr(claim); ok {
			if addr.String() != source {
				return true
			}
			own++
		}
	}
	return own == 0 && len(claims) > 0
}

// aboutSomethingElse reports whether a proxy header speaks of the request
// rather than of the client.
func aboutSomethingElse(header string) bool {
	switch header {
	case "via", "x-forwarded-prefix", "x-forwarded-server", "x-forwarded-path", "x-forwarded-ssl", "x-request-id":
		return true
	}
	for _, suffix := range [...]string{"-proto", "-protocol", "-scheme", "-host", "-port", "-uri", "-url", "-method"} {
		if strings.HasSuffix(header, suffix) {
			return true
		}
	}
	return false
}

// claimedClients splits a header's value into what it says of the client. An
// admission not to know ("unknown", RFC 7239's "_hidden", "-") claims nothing.
func claimedClients(header string, value any) []string {
	var claims []string
	for _, text := range texts(value) {
		for _, part := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(",; \t\r\n", r) }) {
			name, claim, pair := strings.Cut(part, "=")
			if !pair {
				claim = part
			} else if header == "forwarded" && !strings.EqualFold(name, "for") {
				continue
			}
			claim = strings.Trim(claim, `"'`)
			if claim == "" || claim == "-" || claim[0] == '_' || strings.EqualFold(claim, "unknown") {
				continue
			}
			claims = append(claims, claim)
		}
	}
	return claims
}

// texts returns the text of a header's value or of each of its values.
func texts(value any) []string {
	if list, ok := value.([]any); ok {
		var out []string
		for _, item := range list {
			out = append(out, texts(item)...)
		}
		return out
	}
	text, _ := event.Text(value)
	if _, isText := value.(string); !isText && (text == "0" || text == "false") {
		return nil
	}
	return []string{text}
}
