package enforce

import (
	"math"
	"time"

	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An Escalation makes the blocks of repeat offenders longer.
type Escalation struct {
	// Factor multiplies the length for every earlier block; at least 1.
	Factor float64
	// MaxTTL bounds the length; 0 means a year.
	MaxTTL time.Duration
	// Memory is how long an earlier block counts after it ended.
	Memory time.Duration
	// PermanentAfter is the number of earlier blocks from which the next is
	// permanent; 0 means never.
	PermanentAfter int
	// PermanentIP lets blocks on ip become permanent, too.
	PermanentIP bool

	spec *window.Spec
}

const yearTTL = 365 * 24 * time.Hour

// NewEscalation returns e ready for use.
func NewEscalation(e Escalation) *Escalation {
	e.spec = &window.Spec{Name: "offences", Threshold: max(e.PermanentAfter, 8), Length: e.Memory, Latest: true, MaxClears: window.NeverCleared}
	return &e
}

// Previous is the operation that counts the blocks of the scope that had ended
// by at. An offence is remembered by the time its block ends, so that a block
// never counts against itself.
func (e *Escalation) Previous(scope checker.Scope, at time.Time) window.Op {
	return window.Op{Spec: e.spec, Group: scope.String(), Kind: window.Read, Time: at}
}

// Remember is the operation that remembers a temporary block.
func (e *Escalation) Remember(b checker.Block) window.Op {
	return window.Op{Spec: e.spec, Group: b.Scope.String(), Time: b.ExpiresAt, Member: b.ID}
}

// Apply returns the block that is due after so many previous ones.
func (e *Escalation) Apply(b checker.Block, previous int) checker.Block {
	if b.Permanent() || previous == 0 {
		return b
	}
	if e.PermanentAfter > 0 && previous >= e.PermanentAfter && (b.Scope.Type != checker.ScopeIP || e.PermanentIP) {
		b.ExpiresAt = time.Time{}
		return b
	}
	longest := e.MaxTTL
	if longest <= 0 {
		longest = yearTTL
	}
	ttl := b.ExpiresAt.Sub(b.CreatedAt)
	longer := float64(ttl) * math.Pow(max(e.Factor, 1), float64(previous))
	if longer >= float64(longest) {
		b.ExpiresAt = b.CreatedAt.Add(max(longest, ttl))
		return b
	}
	b.ExpiresAt = b.CreatedAt.Add(time.Duration(longer))
	return b
}
