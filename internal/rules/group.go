package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A group is the attributes, or types of scopes, by whose values a rule counts.
type group []string

const (
	maxGroupBy  = 5
	maxGroupKey = 128 // bytes; a longer key is hashed, since clients may control it
)

func checkGroup(by []string) error {
	switch {
	case len(by) == 0:
		return &ParamError{"group_by", errors.New("is empty; name attributes or scopes, such as [source.address]")}
	case len(by) > maxGroupBy:
		return &ParamError{"group_by", fmt.Errorf("has %d entries; at most %d are possible", len(by), maxGroupBy)}
	}
	for i, name := range by {
		if strings.TrimSpace(name) == "" || slices.Contains(by[:i], name) {
			return &ParamError{fmt.Sprintf("group_by[%d]", i), fmt.Errorf("%q is empty or there twice", name)}
		}
	}
	return nil
}

// scopeOf are the types of scopes that attributes are the source of. A scope's value is canonical,
// and there is none for a malformed address.
var scopeOf = map[string]string{
	"source.address": checker.ScopeIP, "user.id": checker.ScopeUser, "user.name": checker.ScopeUsername, "session.id": checker.ScopeSession,
}

// groupValue returns the value of an attribute or of a scope of that type, "" if there is none.
func groupValue(e *event.Event, name string) string {
	if typ, ok := scopeOf[name]; ok {
		return e.Scope(typ)
	}
	if v := e.Scope(name); v != "" {
		return v
	}
	return e.Text(name)
}

func unusableValue(e *event.Event, name string) Reason {
	switch {
	case groupValue(e, name) != "":
		return ""
	case scopeOf[name] == checker.ScopeIP || name == checker.ScopeIP:
		return unaddressed(e)
	}
	return MissingAttribute
}

// key returns the name of the window of e's group, "" if an attribute is missing.
func (g group) key(e *event.Event) string {
	if len(g) == 1 {
		return shortKey(groupValue(e, g[0]))
	}
	var b strings.Builder
	for _, name := range g {
		v := groupValue(e, name)
		if v == "" {
			return ""
		}
		b.WriteString(strconv.Itoa(len(v)) + ":" + v) // so that no two groups have one key
	}
	return shortKey(b.String())
}

func shortKey(key string) string {
	if len(key) <= maxGroupKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// values returns the values by name.
func (g group) values(e *event.Event) map[string]string {
	out := make(map[string]string, len(g))
	for _, name := range g {
		out[name] = groupValue(e, name)
	}
	return out
}

// String returns the values in the order of their names.
func (g group) String(e *event.Event) string {
	values := make([]string, len(g))
	for i, name := range g {
		values[i] = groupValue(e, name)
	}
	return strings.Join(values, " ")
}

func (g group) unusable(e *event.Event) Reason {
	for _, name := range g {
		if reason := unusableValue(e, name); reason != "" {
			return reason
		}
	}
	return ""
}
