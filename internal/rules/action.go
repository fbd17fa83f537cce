package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/pkg/checker"
)

// An Action is what to do about a match.
type Action string

// The actions. Block is permanent for matches of high severity, and temporary for others.
const (
	Observe      Action = "observe"
	Alert        Action = "alert"
	TempBlock    Action = "temp_block"
	PersistBlock Action = "persist_block"
	Block        Action = "block"
)

// Actions returns all actions, the mildest first.
func Actions() []Action { return []Action{Observe, Alert, TempBlock, PersistBlock, Block} }

// Known reports whether a is one of the actions.
func (a Action) Known() bool { return slices.Contains(Actions(), a) }

// A DefaultAction is what a match of a built-in rule leads to unless the configuration says
// otherwise.
type DefaultAction struct {
	Action Action
	Scopes []string // to block; none for other actions
}

// DefaultActions returns the default actions of the built-in rules, by name.
func DefaultActions() map[string]DefaultAction {
	actions := make(map[string]DefaultAction, len(builtins))
	for name, b := range builtins {
		actions[name] = b.action
	}
	return actions
}

// DefaultActionOf returns the default action of rules of a type.
func DefaultActionOf(typ string) DefaultAction {
	b, _ := builtinOf(typ)
	return b.action
}

// blockAddress is the default action of most rules.
func blockAddress() DefaultAction { return DefaultAction{TempBlock, []string{checker.ScopeIP}} }

// checkDecision refuses a configured decision that is not an action; "" is the rule's own.
func checkDecision(decision string) error {
	if decision == "" || Action(decision).Known() {
		return nil
	}
	names := make([]string, 0, len(Actions()))
	for _, a := range Actions() {
		names = append(names, string(a))
	}
	return &ParamError{"decision", fmt.Errorf("%q is not one of %s", decision, strings.Join(names, ", "))}
}
