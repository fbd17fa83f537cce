package ingress

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/httpcheck"
)

// denials writes answers to blocked requests.
type denials struct {
	// reasons: say which rule and which type of scope. Most proxies pass them on to the client.
	reasons bool
}

// plain answers with the block's own status and message: as text, or as problem details
// (RFC 9457) where the client would rather have JSON.
func (a denials) plain(w http.ResponseWriter, r *http.Request, d checker.Decision) {
	a.explain(w.Header(), d)
	if !prefersJSON(r.Header["Accept"]) {
		httpcheck.WriteDenied(w, d)
		return
	}
	h := w.Header()
	httpcheck.SetDeniedHeaders(h, d)
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(d.StatusCode)
	_, _ = w.Write(problem(d)) //nolint:gosec // JSON, and said to be; a proxy that is gone needs no answer
}

func problem(d checker.Decision) []byte {
	raw, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(d.StatusCode), d.StatusCode, d.Message})
	if err != nil {
		return nil // strings and a number
	}
	return raw
}

// maxErrorBody bounds a message that travels in a header: proxies bound theirs.
const maxErrorBody = 512

// nginx answers nginx, whose auth_request knows no status but 2xx, 401 and
// 403 and makes a 500 of others: 403, and what the client shall get in headers.
func (a denials) nginx(w http.ResponseWriter, _ *http.Request, d checker.Decision) {
	h := w.Header()
	a.explain(h, d)
	httpcheck.SetDeniedHeaders(h, d)
	h.Set("X-Error-Status", strconv.Itoa(d.StatusCode))
	h.Set("X-Error-Body", headerText(d.Message, maxErrorBody))
	w.WriteHeader(http.StatusForbidden)
}

// The headers that say why, with --reason-headers.
const (
	ruleHeader  = "X-Wardstream-Rule"
	scopeHeader = "X-Wardstream-Scope"
	errorHeader = "X-Wardstream-Error"
)

// explain sets why d denies: the rule and the type of scope, or the class of the failure. The
// scope's value stays here: it may be another client's address or name.
func (a denials) explain(h http.Header, d checker.Decision) {
	if !a.reasons {
		return
	}
	for name, text := range reasons(d) {
		h.Set(name, text)
	}
}

func reasons(d checker.Decision) map[string]string {
	if (d.Block.Scope == checker.Scope{}) {
		return map[string]string{errorHeader: checker.ErrorClass(d.Err)}
	}
	return map[string]string{ruleHeader: headerText(d.Block.Rule, maxErrorBody), scopeHeader: headerText(d.Block.Scope.Type, maxErrorBody)}
}

// headerText makes text fit for a header: at most limit bytes, on whole
// characters, with blanks for control characters.
func headerText(text string, limit int) string {
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// maxAccept bounds what is read of Accept, in bytes a line.
const maxAccept = 1024

// prefersJSON reports whether the client names JSON in Accept (RFC 9110, section 12.5.1) and
// doesn't name text with more weight, or with the same and earlier.
func prefersJSON(lines []string) bool {
	var asJSON, asText float64
	for _, line := range lines {
		if len(line) > maxAccept {
			return false
		}
		for element := range strings.SplitSeq(line, ",") {
			media, weight := mediaRange(element)
			switch media {
			case "application/problem+json", "application/json":
				if weight > asText {
					asJSON = max(asJSON, weight)
				}
			case "text/plain", "text/html", "text/*":
				if weight > asJSON {
					asText = max(asText, weight)
				}
			}
		}
	}
	return asJSON > asText
}

// mediaRange parses one element of Accept. A weight that is not a number counts as 0.
func mediaRange(element string) (media string, weight float64) {
	media, params, _ := strings.Cut(element, ";")
	weight = 1
	for param := range strings.SplitSeq(params, ";") {
		if name, value, _ := strings.Cut(param, "="); strings.EqualFold(strings.TrimSpace(name), "q") {
			weight, _ = strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return strings.ToLower(strings.TrimSpace(media)), weight
}
