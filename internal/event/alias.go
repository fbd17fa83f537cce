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

// rawNames is the most raw names a canonical attribute has.
const rawNames = 2

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
// and 2 are the raw ones in the order in which they are asked.
func classify(name string) (s slot, rank int) {
	switch name {
	case "source.address":
		return slotAddress, 0
	case "srcip":
		return slotAddress, 1
	case "client.address":
		return slotAddress, 2
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
// stood empty. A canonical value that is neither absent, null nor "" stays; else it is
// taken from the canonical name as nested objects, else from the first raw
// name that holds a scalar other than "". It returns the extended list; an
// empty srcip, user_id, session_id, route or route_name takes the canonical value.
func Canonicalize(attrs []Attr) []Attr {
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
		attrs = settle(attrs, given, s, at[s], nested)
	}
	return attrs
}

// settle gives slot s its one value.
func settle(attrs, given []Attr, s slot, at [rawNames + 1]int, nested bool) []Attr {
	name := canonicalName(s)
	if i := at[0]; i == 0 || given[i-1].Value == "" {
		v, ok := spelled(given, s, at, nested)
		switch {
		case !ok:
			return attrs
		case i == 0:
			attrs = append(attrs, Attr{Name: name, Value: v})
		default:
			attrs[i-1].Value = v
		}
	}
	if i := at[1]; i > 0 && attrs[i-1].Value == "" && canonicalOf(attrs[i-1].Name) != "" {
		attrs[i-1].Value, _ = Find(attrs, name)
	}
	return attrs
}

// spelled looks for the value of s under its other spellings.
func spelled(given []Attr, s slot, at [rawNames + 1]int, nested bool) (any, bool) {
	if nested {
		if v, ok := FindPath(given, canonicalName(s)); ok && v != "" {
			return v, true
		}
	}
	for rank := 1; rank <= rawNames; rank++ {
		var v any
		switch i := at[rank]; {
		case i > 0:
			v = given[i-1].Value
		case nested && nestedRaw(s, rank) != "":
			v, _ = FindPath(given, nestedRaw(s, rank))
		}
		if text, ok := Text(v); ok && text != "" {
			return v, true
		}
	}
	return nil, false
}

// nestedRaw returns the raw name of s and rank if it is a dotted one.
func nestedRaw(s slot, rank int) string {
	if rank != 2 {
		return ""
	}
	switch s {
	case slotAddress:
		return "client.address"
	case slotUserID:
		return "actor.id"
	case slotUserName:
		return "actor.name"
	}
	return ""
}
