package enforce

import (
	"math"
	"time"

	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An Escalation prolongs the blocks of repeat offenders.
type Escalation struct {
	// Factor multiplies the duration for every earlier block; at least 1.
	Factor float64
	// MaxTTL is the maximum duration; 0 means a year.
	MaxTTL time.Duration
	// Memory is how long a block counts after it has ended.
	Memory time.Duration
	// PermanentAfter is the number of earlier blocks after which the next one is permanent; 0 means
	// never.
	PermanentAfter int
	// PermanentIP allows blocks of ip scopes to become permanent.
	PermanentIP bool

	spec *window.Spec
}

const yearTTL = 365 * 24 * time.Hour

// NewEscalation returns e ready for use.
func NewEscalation(e Escalation) *Escalation {
	e.spec = &window.Spec{Name: "offences", Threshold: max(e.PermanentAfter, 8), Length: e.Memory, Latest: true, MaxClears: window.NeverCleared}
	return &e
}

// Previous returns the operation that counts the blocks of scope that had ended by the given time.
// A block is recorded at its end, so that it never counts against itself.
func (e *Escalation) Previous(scope checker.Scope, at time.Time) window.Op {
	return window.Op{Spec: e.spec, Group: scope.String(), Kind: window.Read, Time: at}
}

// Remember returns the operation that records a temporary block.
func (e *Escalation) Remember(b checker.Block) window.Op {
	return window.Op{Spec: e.spec, Group: b.Scope.String(), Time: b.ExpiresAt, Member: b.ID}
}

// Apply returns b prolonged according to the number of previous blocks.
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
