package event

// A slot is a canonical attribute that raw names may stand for.
type slot uint8

const (
	slotNone slot = iota
	slotAddress
	slotUserID
	slotUserName
	slotSession
	slotPath
	slotURL
	slotMethod
	slotStatus
	slotRoute
	slotRouteName
	slots
)

// rawNames is the most raw names that a canonical attribute has.
const rawNames = 4

// canonicalName is the name of a slot.
func canonicalName(s slot) string {
	return [slots]string{
		slotAddress: "source.address", slotUserID: "user.id", slotUserName: "user.name",
		slotSession: "session.id", slotPath: "url.path", slotURL: "url.full",
		slotMethod: "http.request.method", slotStatus: "http.response.status_code",
		slotRoute: "http.route", slotRouteName: "http.route_name",
	}[s]
}

// classify says which slot name belongs to: rank 0 is the canonical name, 1
// and above are the raw ones in the order in which they are asked.
func classify(name string) (s slot, rank int) {
	switch name {
	case "source.address":
		return slotAddress, 0
	case "srcip":
		return slotAddress, 1
	case "client.address":
		return slotAddress, 2
	case "source.ip":
		return slotAddress, 3
	case "client.ip":
		return slotAddress, 4
	case "user.id":
		return slotUserID, 0
	case "user_id":
		return slotUserID, 1
	case "actor.id":
		return slotUserID, 2
	case "user.name":
		return slotUserName, 0
	case "username":
		return slotUserName, 1
	case "actor.name":
		return slotUserName, 2
	case "session.id":
		return slotSession, 0
	case "session_id":
		return slotSession, 1
	}
	return classifyHTTP(name)
}

// classifyHTTP is the second half of classify: what describes a request.
func classifyHTTP(name string) (s slot, rank int) {
	switch name {
	case "url.path":
		return slotPath, 0
	case "path":
		return slotPath, 1
	case "url.full":
		return slotURL, 0
	case "url":
		return slotURL, 1
	case "http.request.method":
		return slotMethod, 0
	case "method":
		return slotMethod, 1
	case "http.response.status_code":
		return slotStatus, 0
	case "status_code":
		return slotStatus, 1
	case "status":
		return slotStatus, 2
	case "http.route":
		return slotRoute, 0
	case "route":
		return slotRoute, 1
	case "route_pattern":
		return slotRoute, 2
	case "http.route_name":
		return slotRouteName, 0
	case "route_name":
		return slotRouteName, 1
	}
	return slotNone, 0
}

// canonicalOf returns the canonical name that [Event.Get] tries for a raw
// name the event lacks, or "". The other raw names are not answered from
// canonical attributes, as in the library whose events these are.
func canonicalOf(raw string) string {
	switch raw {
	case "srcip":
		return "source.address"
	case "user_id":
		return "user.id"
	case "session_id":
		return "session.id"
	case "route":
		return "http.route"
	case "route_name":
		return "http.route_name"
	}
	return ""
}

// heads are the first segments of canonical and raw names that can be spelled
// as nested objects.
func isHead(name string) bool {
	switch name {
	case "source", "client", "user", "actor", "session", "url", "http":
		return true
	}
	return false
}

// Canonicalize makes every canonical attribute that attrs has under another
// spelling an attribute of its own, appended to attrs or filled in where it
// stood empty. A canonical value that is neither absent, null, "" nor a placeholder stays; else it is
// taken from the canonical name as nested objects, else from the first raw
// name that holds a scalar other than that, else from the first that holds a placeholder. It returns the extended list; an
// empty srcip, user_id, session_id, route or route_name takes the canonical value. conflict says that
// the names of the client's address hold different text.
func Canonicalize(attrs []Attr, p *Placeholders) (out []Attr, conflict bool) {
	var at [slots][rawNames + 1]int // 1 + index in attrs
	nested := false
	for i := range attrs {
		if s, rank := classify(attrs[i].Name); s != slotNone {
			at[s][rank] = i + 1
		}
		if _, ok := attrs[i].Value.(map[string]any); ok && isHead(attrs[i].Name) {
			nested = true
		}
	}
	given := attrs
	for s := slotNone + 1; s < slots; s++ {
		if at[s] == [rawNames + 1]int{} && !nested {
			continue
		}
		if at[s] == [rawNames + 1]int{at[s][0]} && !nested && says(given[at[s][0]-1].Value, p) {
			continue // it has its name and a value, as is usual
		}
		l := lookUp{given: given, slot: s, at: at[s], nested: nested, placeholders: p}
		if s == slotAddress && l.several() {
			conflict = l.differ()
		}
		attrs = l.settle(attrs)
	}
	return attrs, conflict
}

// says reports whether v is text and no placeholder, of an ID or of anything else.
func says(v any, p *Placeholders) bool {
	text, ok := v.(string)
	return ok && text != "" && !p.HoldsID(text)
}

// A lookUp finds the one value of a slot.
type lookUp struct {
	given        []Attr
	slot         slot
	at           [rawNames + 1]int
	nested       bool
	placeholders *Placeholders
}

// settle gives the slot its one value.
func (l *lookUp) settle(attrs []Attr) []Attr {
	name := canonicalName(l.slot)
	if i := l.at[0]; i == 0 || l.blank(l.given[i-1].Value) {
		v, ok := l.spelled()
		switch {
		case !ok:
		case i == 0:
			attrs = append(attrs, Attr{Name: name, Value: v})
		default:
			attrs[i-1].Value = v
		}
	}
	if i := l.at[1]; i > 0 && attrs[i-1].Value == "" && canonicalOf(attrs[i-1].Name) != "" {
		if v, ok := Find(attrs, name); ok {
			attrs[i-1].Value = v
		}
	}
	return attrs
}

// blank reports whether v is a scalar that says nothing.
func (l *lookUp) blank(v any) bool {
	text, ok := Text(v)
	switch {
	case !ok:
		return false
	case text == "":
		return true
	case l.slot == slotUserID || l.slot == slotSession:
		return l.placeholders.HoldsID(text)
	case l.slot == slotAddress || l.slot == slotUserName || l.slot == slotRoute || l.slot == slotRouteName:
		return l.placeholders.Holds(text)
	}
	return false
}

// spelled looks for the value under its other spellings. A placeholder is taken where the canonical name is absent and
// nothing better is there, so that it can be seen.
func (l *lookUp) spelled() (found any, ok bool) {
	if l.nested {
		if v, ok := FindPath(l.given, canonicalName(l.slot)); ok && v != "" {
			if !l.blank(v) {
				return v, true
			}
			found = v
		}
	}
	for rank := 1; rank <= rawNames; rank++ {
		v := l.raw(rank)
		if text, ok := Text(v); !ok || text == "" {
			continue
		}
		if !l.blank(v) {
			return v, true
		}
		if found == nil {
			found = v
		}
	}
	return found, found != nil && l.at[0] == 0
}

// raw is the value under the raw name of a rank.
func (l *lookUp) raw(rank int) any {
	if i := l.at[rank]; i > 0 {
		return l.given[i-1].Value
	}
	if l.nested {
		if name := nestedRaw(l.slot, rank); name != "" {
			v, _ := FindPath(l.given, name)
			return v
		}
	}
	return nil
}

// several reports whether there may be more than one name.
func (l *lookUp) several() bool {
	names := 0
	for _, i := range l.at {
		if i > 0 {
			names++
		}
	}
	return l.nested || names > 1
}

// differ reports whether two names hold different text.
func (l *lookUp) differ() bool {
	first := ""
	for rank := 0; rank <= rawNames; rank++ {
		v := l.raw(rank)
		if rank == 0 && v == nil && l.nested {
			v, _ = FindPath(l.given, canonicalName(l.slot))
		}
		text, ok := Text(v)
		if !ok || l.blank(v) {
			continue
		}
		if first != "" && text != first {
			return true
		}
		first = text
	}
	return false
}

// nestedRaw returns the raw name of s and rank if it is a dotted one.
func nestedRaw(s slot, rank int) string {
	switch {
	case s == slotAddress && rank == 2:
		return "client.address"
	case s == slotAddress && rank == 3:
		return "source.ip"
	case s == slotAddress && rank == 4:
		return "client.ip"
	case s == slotUserID && rank == 2:
		return "actor.id"
	case s == slotUserName && rank == 2:
		return "actor.name"
	}
	return ""
}

// Decides reports whether an attribute of this name is one that says what happened to whom: a canonical
// name, a raw one, or an object in which one may be spelled.
func Decides(name string) bool {
	s, _ := classify(name)
	return s != slotNone || isHead(name)
}

// IsText reports whether values of the name are text and never a list or an object, whatever a client has them look like.
func IsText(name string) bool {
	switch s, _ := classify(name); s {
	case slotAddress, slotUserID, slotUserName, slotSession, slotPath:
		return true
	}
	return false
}

// Addresses returns what attrs hold under each name of the client's address.
func Addresses(attrs []Attr) []string {
	var out []string
	for rank := 0; rank <= rawNames; rank++ {
		name := [rawNames + 1]string{"source.address", "srcip", "client.address", "source.ip", "client.ip"}[rank]
		v, ok := Find(attrs, name)
		if !ok {
			v, _ = FindPath(attrs, name)
		}
		if text, ok := Text(v); ok && text != "" {
			out = append(out, text)
		}
	}
	return out
}

// AddressNames are names that address the client in logs and frameworks and that are not taken for source.address, because
// they may as well be a proxy's, or an object's.
func AddressNames() []string {
	return []string{"ip", "remote_addr", "remote_ip", "remote.address", "client_ip", "ip_address", "host.ip", "peer", "x_forwarded_for"}
}

// AddressHint returns the one of [AddressNames] that the event has, for a report on an event without source.address; "" is none.
func (e *Event) AddressHint() string {
	for _, name := range AddressNames() {
		if text := e.Text(name); text != "" {
			return name
		}
	}
	return ""
}

// ScopeNames returns the names, canonical and raw, of the attributes that are the built-in scopes.
func ScopeNames() []string {
	return []string{
		"source.address", "srcip", "client.address", "source.ip", "client.ip", "user.id", "user_id", "actor.id", "user.name", "username", "actor.name",
		"session.id", "session_id", "http.route", "route", "route_pattern",
	}
}
