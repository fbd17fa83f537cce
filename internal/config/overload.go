package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

// What becomes of late entries: the values of Stream.Overload.
const (
	InOrder = "in_order"
	Shed    = "shed"
)

// Sheds reports whether late entries of the event type are skipped.
func (s *Stream) Sheds(eventType string) bool {
	return s.Overload == Shed && slices.ContainsFunc(s.ShedTypes, func(element string) bool { return covers(element, eventType) })
}

const maxShedTypes = 64

func (v *validator) checkOverload() {
	s := &v.c.Stream
	if len(s.ShedTypes) > maxShedTypes {
		v.Refuse("stream.shed_types", "lists more than %d types", maxShedTypes)
	}
	for i, element := range s.ShedTypes {
		key, name := fmt.Sprintf("stream.shed_types[%d]", i), strings.TrimSuffix(element, "*")
		switch {
		case element == "*":
			v.Refuse(key, "is every type, attacks included; name event types that no rule needs")
		case strings.Contains(name, "*"):
			v.Refuse(key, "%s is neither an event type nor the beginning of some and *", strictconfig.Quote(element))
		default:
			v.checkName(key, name, 256)
		}
	}
	if s.Overload != Shed {
		return
	}
	if s.MaxLag == 0 {
		v.Refuse("stream.overload", "is shed, which needs stream.max_lag; set it to the age at which entries are late, such as 30s")
	}
	if len(s.ShedTypes) == 0 {
		v.Refuse("stream.shed_types", "is empty, so that overload: shed has nothing to shed; name event types that no rule needs")
	}
}

// warnOverload warns of rules that what is shed escapes.
func (v *validator) warnOverload() {
	s := &v.c.Stream
	if s.Overload != Shed {
		return
	}
	for _, rule := range v.c.RuleSet.Rules() {
		var missed []string
		for _, element := range s.ShedTypes {
			if acceptsSome(rule.EventFilter(), element) {
				missed = append(missed, element)
			}
		}
		if len(missed) > 0 {
			v.warnf("stream.shed_types has %s, which %s looks at: what is shed escapes it", strings.Join(missed, " and "), rule.Name())
		}
	}
}

// acceptsSome reports whether a rule accepts any of the types that an element of shed_types stands
// for.
func acceptsSome(f rules.EventFilter, element string) bool {
	beginning, open := strings.CutSuffix(element, "*")
	return f.Any ||
		slices.ContainsFunc(f.Types, func(typ string) bool { return covers(element, typ) }) ||
		slices.ContainsFunc(f.Prefixes, func(p string) bool {
			return strings.HasPrefix(beginning, p) || open && strings.HasPrefix(p, beginning)
		})
}
