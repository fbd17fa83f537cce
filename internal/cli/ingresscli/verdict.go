package ingresscli

import (
	"fmt"
	"io"
	"time"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A verdict is the answer as JSON.
type verdict struct {
	Blocked    bool   `json:"blocked"`
	ScopeType  string `json:"scope_type,omitempty"`
	ScopeValue string `json:"scope_value,omitempty"`
	Rule       string `json:"rule_name,omitempty"`
	Reason     string `json:"reason,omitempty"`
	StatusCode int    `json:"status_code,omitempty"`
	Message    string `json:"message,omitempty"`
	Permanent  bool   `json:"permanent,omitempty"`
	ExpiresAt  string `json:"expires_at,omitempty"`
	RetryAfter int    `json:"retry_after,omitempty"` // seconds
}

func (a app) writeVerdict(d checker.Decision, format cli.Format) error {
	v := verdict{
		Blocked: d.Blocked, ScopeType: d.Block.Scope.Type, ScopeValue: d.Block.Scope.Value, Rule: d.Block.Rule, Reason: d.Block.Reason,
		StatusCode: d.StatusCode, Message: d.Message, Permanent: d.Blocked && d.Block.Permanent(), RetryAfter: int(d.RetryAfter / time.Second),
	}
	if d.Blocked && !d.Block.Permanent() {
		v.ExpiresAt = d.Block.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return a.Print(format, v, func(w io.Writer) { _, _ = fmt.Fprintln(w, v) })
}

// String is the answer in words. What comes from the store is quoted: it may be
// anything, and this goes to terminals.
func (v verdict) String() string {
	if !v.Blocked {
		return "allowed"
	}
	until := "permanently"
	if !v.Permanent {
		until = "until " + v.ExpiresAt
	}
	text := fmt.Sprintf("blocked: %s %q by rule %q %s; answer %d %q", v.ScopeType, v.ScopeValue, v.Rule, until, v.StatusCode, v.Message)
	if v.Reason != "" {
		text += fmt.Sprintf("; reason %q", v.Reason)
	}
	return text
}
