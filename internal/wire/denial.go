package wire

import (
	"strings"

	"github.com/wardstream/wardstream/internal/event"
)

// The attributes that mark a response as a denial of Wardstream's own: what
// publishers of ours set, and OpenTelemetry's name for the header in captured responses.
const (
	deniedAttribute = "wardstream.denied"
	deniedHeader    = "http.response.header.x-wardstream-denied"
)

// OwnDenial reports whether e is the response that Wardstream itself gave a blocked
// client. Such events are skipped, as what [Filtered] names is: they would prolong the
// block that they come of. Only error responses can be denials; what a client gets into
// another event's attributes doesn't make it go unseen.
func OwnDenial(e *event.Event) bool {
	if e.Type != "http.response.client_error" && e.Type != "http.response.server_error" {
		return false
	}
	if denied := e.Text(deniedAttribute); strings.EqualFold(denied, "true") || denied == "1" {
		return true
	}
	v, _ := e.Get(deniedHeader)
	if values, ok := v.([]any); ok {
		return len(values) > 0
	}
	text, ok := event.Text(v)
	return ok && text != ""
}
