package wire

import (
	"strings"
	"unicode"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// wellKnown holds the attributes with a meaning of their own: type, ID, time, trace and scopes.
type wellKnown struct {
	typ, name, camelName, dotName, otelName *event.Attr
	id, timestamp                           *event.Attr
	parent, traceID, spanID, flags          *event.Attr
	scopes                                  [builtinScopes]*event.Attr
	documents                               [documents]int // 1 + their places
}

// documents is how many attributes hold a document of a client's, or a list, which may be
// serialised by itself.
const documents = 4

// find looks all of them up in one pass.
func (m *wellKnown) find(attrs []event.Attr) {
	for i := range attrs {
		v := &attrs[i]
		switch v.Name {
		case "event_type":
			m.typ = v
		case "event_name":
			m.name = v
		case "eventName":
			m.camelName = v
		case "event.name":
			m.dotName = v
		case "otel.event.name":
			m.otelName = v
		case "event_id":
			m.id = v
		case "timestamp", "time_unix_nano", "timeUnixNano":
			m.timestamp = v
		case "traceparent":
			m.parent = v
		case "trace_id":
			m.traceID = v
		case "span_id":
			m.spanID = v
		case "trace_flags":
			m.flags = v
		case "source.address":
			m.scopes[0] = v
		case "user.id":
			m.scopes[1] = v
		case "user.name":
			m.scopes[2] = v
		case "session.id":
			m.scopes[3] = v
		case "http.route":
			m.scopes[4] = v
		case "request.body":
			m.documents[0] = i + 1
		case "body":
			m.documents[1] = i + 1
		case "changed_fields":
			m.documents[2] = i + 1
		case "request":
			m.documents[3] = i + 1
		}
	}
}

// eventType is event_type, else event_name, else the attribute in which OpenTelemetry has put
// names: trimmed. A number or boolean is taken by its text, what is blank counts as absent.
func (m *wellKnown) eventType(e *event.Event) string {
	for _, a := range [...]*event.Attr{m.typ, m.name, m.camelName, m.dotName, m.otelName} {
		if text, ok := a.Scalar(); ok {
			if text = trimmedType(text); text != "" {
				return text
			}
		}
	}
	for _, name := range [...]string{"event.name", "otel.event.name"} {
		if text := trimmedType(e.Text(name)); text != "" {
			return text
		}
	}
	return ""
}

// trimmedType takes off what is around a type: blanks, the end of a line, the end of a C string, a
// byte order mark.
func trimmedType(text string) string {
	if n := len(text); n > 0 && isGraphic(text[0]) && isGraphic(text[n-1]) {
		return text
	}
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == 0 || r == '\ufeff' })
}

// isGraphic reports whether c is a visible character of ASCII.
func isGraphic(c byte) bool { return '!' <= c && c <= '~' }

// builtinScopes is how many scope types every deployment has.
const builtinScopes = 5

// scopesOf returns the event's scopes: ip, user, username, session, route, then
// the operator's.
func (d *Decoder) scopesOf(e *event.Event, m *wellKnown) []checker.Scope {
	types := [builtinScopes]string{
		checker.ScopeIP, checker.ScopeUser, checker.ScopeUsername, checker.ScopeSession, checker.ScopeRoute,
	}
	var found []checker.Scope
	for i, typ := range types {
		text, ok := m.scopes[i].Scalar()
		if !ok {
			continue
		}
		if scope, ok := d.scope(typ, text); ok {
			if found == nil {
				found = make([]checker.Scope, 0, builtinScopes+len(d.opts.Scopes))
			}
			found = append(found, scope)
		}
	}
	for _, spec := range d.opts.Scopes {
		for _, name := range spec.Attributes {
			text := e.Text(name)
			if d.placeholders.Holds(text) || namesID(name) && d.placeholders.HoldsID(text) {
				continue
			}
			if scope, ok := checker.NewScope(spec.Name, text); ok {
				found = append(found, scope)
				break
			}
		}
	}
	return found
}

// scope returns the built-in scope of a value.
func (d *Decoder) scope(typ, text string) (checker.Scope, bool) {
	switch typ {
	case checker.ScopeIP:
		addr, ok := d.address(text)
		if !ok {
			return checker.Scope{}, false
		}
		return checker.IPScope(addr, d.opts.IPv6Prefix), true
	case checker.ScopeUser, checker.ScopeSession:
		if d.placeholders.HoldsID(text) {
			return checker.Scope{}, false
		}
	default:
		if d.placeholders.Holds(text) {
			return checker.Scope{}, false
		}
	}
	return checker.NewScope(typ, text)
}

// namesID reports whether an attribute holds IDs by its name, such as tenant.id, tenant_id and
// tenantId.
func namesID(name string) bool {
	rest, ok := strings.CutSuffix(strings.ToLower(name), "id")
	return ok && (rest == "" || strings.HasSuffix(rest, ".") || strings.HasSuffix(rest, "_") || strings.HasSuffix(rest, "-") || strings.HasSuffix(name, "Id") || strings.HasSuffix(name, "ID"))
}

// traceParent is the producer's W3C context: the attribute traceparent, else
// what a LogRecord says of trace and span. What is not well-formed is dropped.
func (m *wellKnown) traceParent() string {
	if text, ok := m.parent.String(); ok {
		return validTraceParent(text)
	}
	trace, _ := m.traceID.String()
	span, _ := m.spanID.String()
	if trace == "" || span == "" {
		return ""
	}
	flags := "00"
	if text, ok := m.flags.Scalar(); ok && text != "" && strings.IndexByte("13579bdfBDF", text[len(text)-1]) >= 0 {
		flags = "01" // the lowest bit, in decimal as in hexadecimal
	}
	trace, span = strings.TrimPrefix(trace, "0x"), strings.TrimPrefix(span, "0x")
	return validTraceParent("00-" + trace + "-" + span + "-" + flags)
}

// validTraceParent returns s in lower case if it is a traceparent of version 00
// with ids that are not zero, else "".
func validTraceParent(s string) string {
	s = strings.ToLower(s)
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return ""
	}
	version, trace, span, flags := s[:2], s[3:35], s[36:52], s[53:]
	if version != "00" || !isHex(trace) || !isHex(span) || !isHex(flags) ||
		strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return ""
	}
	return s
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}
