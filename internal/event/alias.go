package event

// A slot is a canonical attribute with raw names.
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

// rawNames is the maximum number of raw names of a canonical attribute.
const rawNames = 4

// canonicalName returns the name of a slot.
func canonicalName(s slot) string {
	return [slots]string{
		slotAddress: "source.address", slotUserID: "user.id", slotUserName: "user.name",
		slotSession: "session.id", slotPath: "url.path", slotURL: "url.full",
		slotMethod: "http.request.method", slotStatus: "http.response.status_code",
		slotRoute: "http.route", slotRouteName: "http.route_name",
	}[s]
}

// classify returns the slot of a name. Rank 0 is the canonical name; raw names have ranks from 1,
// in order of precedence.
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

// classifyHTTP is the second half of classify: attributes of a request.
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

// canonicalOf returns the canonical name that [Event.Get] tries for a raw name that the event does
// not have, or "". As in the Python library, only some raw names have one.
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

// heads are the first segments of canonical and raw names that can be nested objects.
func isHead(name string) bool {
	switch name {
	case "source", "client", "user", "actor", "session", "url", "http":
		return true
	}
	return false
}

// Canonicalize adds the canonical attributes that attrs has only under other names, and returns the
// extended list. A canonical value stays unless it is absent, null, "" or a placeholder. Otherwise
// the value is taken from the first of these: the canonical name as nested objects, the first raw
// name with a usable scalar, the first raw name with a placeholder. An empty srcip, user_id,
// session_id, route or route_name gets the canonical value. conflict reports whether the names of
// the client's address have different values.
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
		if at[s] == [rawNames + 1]int{at[s][0]} && !nested && says(&given[at[s][0]-1], s, p) {
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

// says reports whether the value of a is text and, where that matters, not a placeholder.
func says(a *Attr, s slot, p *Placeholders) bool {
	switch s {
	case slotPath, slotURL, slotMethod, slotStatus:
		return a.Text != ""
	}
	return a.Text != "" && !p.HoldsID(a.Text)
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
	if i := l.at[0]; i == 0 || l.blank(&l.given[i-1]) {
		found := l.spelled()
		switch {
		case found == nil:
		case i == 0:
			attrs = append(attrs, found.named(name))
		default:
			attrs[i-1] = found.named(name)
		}
	}
	if i := l.at[1]; i > 0 && attrs[i-1].Value == "" && canonicalOf(attrs[i-1].Name) != "" {
		if canonical := find(attrs, name); canonical != nil {
			attrs[i-1] = canonical.named(attrs[i-1].Name)
		}
	}
	return attrs
}

// named returns a under another name.
func (a *Attr) named(name string) Attr { return Attr{Name: name, Text: a.Text, Value: a.Value} }

// blank reports whether the value of a is a scalar without information.
func (l *lookUp) blank(a *Attr) bool {
	text, ok := a.Scalar()
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

// spelled looks for the value under its other names and returns nil if there is none. If the
// canonical name is absent and there is nothing better, it takes a placeholder, so that reports can
// show it.
func (l *lookUp) spelled() *Attr {
	var placeholder *Attr
	if l.nested {
		if v, ok := FindPath(l.given, canonicalName(l.slot)); ok && v != "" {
			a := AnyAttr("", v)
			if !l.blank(&a) {
				return &a
			}
			placeholder = &a
		}
	}
	for rank := 1; rank <= rawNames; rank++ {
		a := l.raw(rank)
		if text, ok := a.Scalar(); !ok || text == "" {
			continue
		}
		if !l.blank(a) {
			return a
		}
		if placeholder == nil {
			placeholder = a
		}
	}
	if l.at[0] != 0 {
		return nil
	}
	return placeholder
}

// raw returns the attribute with the raw name of a rank; nil if there is none.
func (l *lookUp) raw(rank int) *Attr {
	if i := l.at[rank]; i > 0 {
		return &l.given[i-1]
	}
	if l.nested {
		if name := nestedRaw(l.slot, rank); name != "" {
			return nestedAttr(l.given, name)
		}
	}
	return nil
}

// nestedAttr returns the value at a dotted path; nil if there is none.
func nestedAttr(attrs []Attr, path string) *Attr {
	v, ok := FindPath(attrs, path)
	if !ok {
		return nil
	}
	a := AnyAttr(path, v)
	return &a
}

// several reports whether the slot may be present under more than one name.
func (l *lookUp) several() bool {
	names := 0
	for _, i := range l.at {
		if i > 0 {
			names++
		}
	}
	return l.nested || names > 1
}

// differ reports whether two names have different values.
func (l *lookUp) differ() bool {
	first := ""
	for rank := 0; rank <= rawNames; rank++ {
		a := l.raw(rank)
		if rank == 0 && a == nil && l.nested {
			a = nestedAttr(l.given, canonicalName(l.slot))
		}
		text, ok := a.Scalar()
		if !ok || l.blank(a) {
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

// Decides reports whether an attribute of this name can affect detection: it is a canonical or raw
// name, or an object that may contain one.
func Decides(name string) bool {
	s, _ := classify(name)
	return s != slotNone || isHead(name)
}

// IsText reports whether values of the name are always text. A client may send text that looks like
// a list or an object; it must not be parsed.
func IsText(name string) bool {
	switch s, _ := classify(name); s {
	case slotAddress, slotUserID, slotUserName, slotSession, slotPath:
		return true
	}
	return false
}

// Addresses returns the values of all names of the client's address in attrs.
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

// AddressNames are names of client addresses in logs and frameworks that are not used as
// source.address, because they may hold a proxy's address or another object.
func AddressNames() []string {
	return []string{"ip", "remote_addr", "remote_ip", "remote.address", "client_ip", "ip_address", "host.ip", "peer", "x_forwarded_for"}
}

// AddressHint returns the first of [AddressNames] that the event has, or "". It is for reports
// about events without source.address.
func (e *Event) AddressHint() string {
	for _, name := range AddressNames() {
		if text := e.Text(name); text != "" {
			return name
		}
	}
	return ""
}

// ScopeNames returns the canonical and raw names of the attributes that become built-in scopes.
func ScopeNames() []string {
	return []string{
		"source.address", "srcip", "client.address", "source.ip", "client.ip", "user.id", "user_id", "actor.id", "user.name", "username", "actor.name",
		"session.id", "session_id", "http.route", "route", "route_pattern",
	}
}
