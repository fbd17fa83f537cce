package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// The types of enforcement events. All of them start with
// "audit.enforcement.", so [Filtered] keeps them out of detection.
const (
	TypeAlert            = "audit.enforcement.alert"
	TypeBlocked          = "audit.enforcement.blocked"
	TypeBlockApplied     = "audit.enforcement.block_applied"
	TypeBlockRevoked     = "audit.enforcement.block_revoked"
	TypeEvaluationFailed = "audit.enforcement.evaluation_failed"
)

// EnforcementTypes are all the types of enforcement events.
func EnforcementTypes() []string {
	return []string{TypeAlert, TypeBlocked, TypeBlockApplied, TypeBlockRevoked, TypeEvaluationFailed}
}

// The values of enforcement.action.
const (
	ActionTemp      = "temp"
	ActionPermanent = "permanent"
	ActionAlert     = "alert"
	ActionBlocked   = "blocked"
)

// schemaVersion is the version of the attributes' meaning.
const schemaVersion = "1.0"

// scopeName is the name of the instrumentation scope.
const scopeName = "wardstream"

// An Enforcement is one enforcement event: what Wardstream decided or found.
// Fields that are zero are left out of the event. Values are comparable.
type Enforcement struct {
	Type     string    // one of the Type constants
	ID       string    // enforcement.id, see [EnforcementID]
	Time     time.Time // of what the event is about; zero means Observed
	Observed time.Time // when it was decided; zero means Time

	Scope       checker.Scope // what is blocked
	Rule        string
	Severity    int
	Description string

	Action    string    // one of the Action constants
	TTL       int       // of a temporary block, in seconds
	ExpiresAt time.Time // of a temporary block
	DryRun    bool      // nothing was blocked, though the rules would have had it
	RevokedBy string
	Reason    string // why an operator revoked
	FailMode  string // "open" or "closed"
	ErrorType string // a class, never a message

	Count         int    // of the requests that this event stands for, where it stands for several
	StatusCode    int    // of the denial
	SourceAddress string // of the event or request that led to this
	SessionID     string
	UserID        string

	TraceParent string // of the event or request that led to this
}

// BlockApplied is the event of a block that began or became permanent, by a rule or an operator.
func BlockApplied(block checker.Block) Enforcement {
	e := Enforcement{
		Type: TypeBlockApplied, ID: block.ID, Time: block.CreatedAt, Scope: block.Scope, Rule: block.Rule,
		Action: ActionPermanent,
	}
	if !block.Permanent() {
		e.Action, e.ExpiresAt = ActionTemp, block.ExpiresAt
		e.TTL = int(block.ExpiresAt.Sub(block.CreatedAt).Round(time.Second).Seconds())
	}
	return e
}

// An Origin says who emits: the resource's attributes (service.name is
// "wardstream" unless given) and the version of the software.
type Origin struct {
	Resource map[string]string
	Version  string
}

// EnforcementID is the enforcement.id of a decision: the first 16 bytes, as 32
// hexadecimal digits, of the SHA-256 of the entry's ID, the rule, the scope's
// type and its value, each preceded by its length in 4 bytes. The same entry delivered
// again gives the same ID.
func EnforcementID(entryID, rule, scopeType, scopeValue string) string {
	h := sha256.New()
	for _, part := range [...]string{entryID, rule, scopeType, scopeValue} {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(part))) //nolint:gosec // an entry is far smaller than 4 GiB
		h.Write(size[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// enforcementJSON is an enforcement event as an OpenTelemetry LogRecord.
type enforcementJSON struct {
	Timestamp      int64             `json:"timestamp"`          // ns
	Observed       int64             `json:"observed_timestamp"` // ns
	SeverityText   string            `json:"severity_text"`
	SeverityNumber int               `json:"severity_number"`
	Body           string            `json:"body"`
	EventName      string            `json:"event_name"`
	Attributes     enforcementAttrs  `json:"attributes"`
	Resource       map[string]string `json:"resource"`
	Scope          scopeJSON         `json:"instrumentation_scope"`
	TraceID        string            `json:"trace_id,omitempty"`
	SpanID         string            `json:"span_id,omitempty"`
	TraceFlags     *int              `json:"trace_flags,omitempty"`
}

type scopeJSON struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type enforcementAttrs struct {
	EventType     string `json:"event_type"`
	SchemaVersion string `json:"schema_version"`
	ID            string `json:"enforcement.id,omitempty"`
	ScopeType     string `json:"scope.type,omitempty"`
	ScopeValue    string `json:"scope.value,omitempty"`
	Rule          string `json:"security_rule.name,omitempty"`
	Severity      int    `json:"security_rule.severity,omitempty"`
	Description   string `json:"security_rule.description,omitempty"`
	Action        string `json:"enforcement.action,omitempty"`
	TTL           int    `json:"enforcement.ttl,omitempty"`
	ExpiresAt     string `json:"enforcement.expires_at,omitempty"`
	DryRun        bool   `json:"enforcement.dry_run,omitempty"`
	RevokedBy     string `json:"enforcement.revoked_by,omitempty"`
	Reason        string `json:"enforcement.reason,omitempty"`
	FailMode      string `json:"enforcement.fail_mode,omitempty"`
	ErrorType     string `json:"error.type,omitempty"`
	Count         int    `json:"enforcement.count,omitempty"`
	StatusCode    int    `json:"http.response.status_code,omitempty"`
	SourceAddress string `json:"source.address,omitempty"`
	SessionID     string `json:"session.id,omitempty"`
	UserID        string `json:"user.id,omitempty"`
}

// nanos is t in nanoseconds since 1970, at the ends of what can be written so.
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s <= 0:
		return 0
	case s > math.MaxInt64/int64(time.Second)-1:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// severity is the severity of an enforcement event's type.
func severity(typ string) (text string, number int) {
	switch typ {
	case TypeBlockRevoked:
		return "INFO", 9
	case TypeEvaluationFailed:
		return "ERROR", 17
	}
	return "WARN", 13
}

// EncodeEnforcement writes an enforcement event as JSON on one line, without
// the line's end.
func EncodeEnforcement(e Enforcement, o Origin) ([]byte, error) {
	if e.Observed.IsZero() {
		e.Observed = e.Time
	}
	if e.Time.IsZero() {
		e.Time = e.Observed
	}
	j := enforcementJSON{
		Timestamp: nanos(e.Time), Observed: nanos(e.Observed), Body: e.Type, EventName: e.Type,
		Attributes: e.attributes(), Resource: o.Attributes(), Scope: scopeJSON{scopeName, o.Version},
	}
	j.SeverityText, j.SeverityNumber = severity(e.Type)
	if tp := validTraceParent(e.TraceParent); tp != "" {
		flags := 0
		if n, err := hex.DecodeString(tp[53:]); err == nil {
			flags = int(n[0])
		}
		j.TraceID, j.SpanID, j.TraceFlags = tp[3:35], tp[36:52], &flags
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(j); err != nil {
		return nil, fmt.Errorf("encode enforcement event: %w", err)
	}
	return PrintableJSON(bytes.TrimRight(line.Bytes(), "\n")), nil
}

func (e *Enforcement) attributes() enforcementAttrs {
	expires := ""
	if !e.ExpiresAt.IsZero() {
		expires = FormatTime(e.ExpiresAt)
	}
	return enforcementAttrs{
		EventType: e.Type, SchemaVersion: schemaVersion, ID: e.ID,
		ScopeType: e.Scope.Type, ScopeValue: e.Scope.Value,
		Rule: e.Rule, Severity: e.Severity, Description: e.Description,
		Action: e.Action, TTL: e.TTL, ExpiresAt: expires, DryRun: e.DryRun,
		RevokedBy: e.RevokedBy, Reason: e.Reason, FailMode: e.FailMode, ErrorType: e.ErrorType,
		Count: e.Count, StatusCode: e.StatusCode, SourceAddress: e.SourceAddress, SessionID: e.SessionID, UserID: e.UserID,
	}
}

// Attributes are the resource's attributes, with a service.name.
func (o Origin) Attributes() map[string]string {
	if o.Resource["service.name"] != "" {
		return o.Resource
	}
	with := map[string]string{"service.name": scopeName}
	for name, value := range o.Resource {
		if value != "" {
			with[name] = value
		}
	}
	return with
}

var errNoEnforcement = errors.New("event_type is not an enforcement event's")

// DecodeEnforcement reads what [EncodeEnforcement] wrote. Attributes it does
// not know are ignored.
func DecodeEnforcement(raw []byte) (Enforcement, Origin, error) {
	var j enforcementJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return Enforcement{}, Origin{}, fmt.Errorf("decode enforcement event: %w", err)
	}
	a := j.Attributes
	if !slices.Contains(EnforcementTypes(), a.EventType) {
		return Enforcement{}, Origin{}, fmt.Errorf("decode enforcement event: %w", errNoEnforcement)
	}
	e := Enforcement{
		Type: a.EventType, ID: a.ID, Time: time.Unix(0, j.Timestamp).UTC(), Observed: time.Unix(0, j.Observed).UTC(),
		Scope: checker.Scope{Type: a.ScopeType, Value: a.ScopeValue},
		Rule:  a.Rule, Severity: a.Severity, Description: a.Description,
		Action: a.Action, TTL: a.TTL, ExpiresAt: readExpiry(a.ExpiresAt), DryRun: a.DryRun,
		RevokedBy: a.RevokedBy, Reason: a.Reason, FailMode: a.FailMode, ErrorType: a.ErrorType,
		Count: a.Count, StatusCode: a.StatusCode, SourceAddress: a.SourceAddress, SessionID: a.SessionID, UserID: a.UserID,
	}
	if j.TraceFlags != nil {
		e.TraceParent = validTraceParent(fmt.Sprintf("00-%s-%s-%02x", j.TraceID, j.SpanID, uint8(*j.TraceFlags&0xff)))
	}
	return e, Origin{Resource: j.Resource, Version: j.Scope.Version}, nil
}

// readExpiry reads what FormatTime wrote; what can't be read is zero.
func readExpiry(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
