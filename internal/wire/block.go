package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
)

// DefaultStatus and DefaultMessage answer a denied request where the block
// says nothing else.
const (
	DefaultStatus  = 429
	DefaultMessage = "Request blocked by audit enforcement policy"
)

// BlockHead is the Lua pattern of the start of a block value that EncodeBlock
// wrote; the store's scripts take it apart without reading the rest, which may hold
// anything. It captures the ID, created_at as it stands in the JSON, the end
// in milliseconds since 1970 (0: permanent), and the flags (letters: b, a permanent block
// replaced a temporary one; c, Postgres has the block).
const BlockHead = `^{"id":"([^"\]*)","created_at":([^,]*),"until":(%d+),"flags":"(%a*)",`

// HeadLen is the length of what BlockHead matches in EncodeBlock's result.
func HeadLen(block []byte) int { return bytes.Index(block, []byte(`,"scope_type":`)) + 1 }

// blockJSON is the value of a block key. The Python library writes and reads
// the members from scope_type on, created_at, and ignores the others.
type blockJSON struct {
	ID         string         `json:"id"`
	CreatedAt  isoTime        `json:"created_at"`
	Until      int64          `json:"until"`
	Flags      string         `json:"flags"`
	ScopeType  string         `json:"scope_type"`
	ScopeValue string         `json:"scope_value"`
	Reason     string         `json:"reason"`
	RuleName   string         `json:"rule_name"`
	StatusCode int            `json:"status_code"`
	Message    string         `json:"message"`
	ExpiresAt  isoTime        `json:"expires_at"`
	Metadata   map[string]any `json:"metadata"`
}

var (
	errNoScope  = errors.New("block names no scope")
	errBlockID  = errors.New("block ID must be of printable ASCII, without quotes and backslashes")
	errNoObject = errors.New("value is not a JSON object")
	errNoJSON   = errors.New("value is not JSON")
	errStatus   = errors.New("status_code is not a number")
)

// EncodeBlock writes the value of a block key.
func EncodeBlock(b checker.Block) ([]byte, error) { return encodeBlock(b, "") }

// EncodeCopy writes the value of a block key for a block that Postgres has.
func EncodeCopy(b checker.Block) ([]byte, error) { return encodeBlock(b, "c") }

func encodeBlock(b checker.Block, flags string) ([]byte, error) {
	if !ValidBlockID(b.ID) {
		return nil, fmt.Errorf("encode block: %w", errBlockID)
	}
	j := blockJSON{
		ID: b.ID, CreatedAt: isoTime(b.CreatedAt), Until: Until(b), Flags: flags,
		ScopeType: b.Scope.Type, ScopeValue: b.Scope.Value, Reason: b.Reason, RuleName: b.Rule,
		StatusCode: ValidStatus(b.StatusCode), Message: b.Message, ExpiresAt: isoTime(b.ExpiresAt), Metadata: b.Metadata,
	}
	if j.Message == "" {
		j.Message = DefaultMessage
	}
	if j.Metadata == nil {
		j.Metadata = map[string]any{}
	}
	raw, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("encode block: %w", err)
	}
	return raw, nil
}

// ValidBlockID reports whether id can be a block's: short, of printable ASCII,
// without quotes and backslashes. The empty one is.
func ValidBlockID(id string) bool {
	for i := range len(id) {
		if c := id[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			return false
		}
	}
	return len(id) <= rediskey.MaxValue
}

// ValidStatus returns code if it can be an HTTP response's status, else
// DefaultStatus.
func ValidStatus(code int) int {
	if code < 100 || code > 999 {
		return DefaultStatus
	}
	return code
}

// Until is the end of b in milliseconds since 1970; 0 means permanent.
func Until(b checker.Block) int64 {
	if b.Permanent() {
		return 0
	}
	return max(b.ExpiresAt.UnixMilli(), 1)
}

// IsCopy reports whether a block key's value is EncodeCopy's of a permanent
// block.
func IsCopy(raw string) bool {
	_, rest, ok := strings.Cut(raw, `,"until":`)
	rest, permanent := strings.CutPrefix(rest, `0,"flags":"`)
	flags, _, closed := strings.Cut(rest, `"`)
	return ok && strings.HasPrefix(raw, `{"id":"`) && permanent && closed && strings.Contains(flags, "c")
}

// DecodeBlock reads the value of a block key, ours or the Python library's. It
// is as tolerant as that library: only the scope is required, unknown members
// and unreadable times are ignored, scalars are read as text.
func DecodeBlock(raw []byte) (checker.Block, error) { return decodeBlock(raw, true) }

// DecodeDenial is DecodeBlock without the metadata, which a denial needs not and which is most of
// the work.
func DecodeDenial(raw []byte) (checker.Block, error) { return decodeBlock(raw, false) }

func decodeBlock(raw []byte, metadata bool) (checker.Block, error) {
	var b checker.Block
	var badStatus error
	err := eachMember(raw, func(name, value []byte) {
		switch string(name) {
		case "id":
			b.ID = text(value)
		case "scope_type":
			b.Scope.Type = text(value)
		case "scope_value":
			b.Scope.Value = text(value)
		case "reason":
			b.Reason = text(value)
		case "rule_name":
			b.Rule = text(value)
		case "message":
			b.Message = text(value)
		case "created_at":
			b.CreatedAt = ReadTime(value)
		case "expires_at":
			b.ExpiresAt = ReadTime(value)
		case "status_code":
			b.StatusCode, badStatus = readStatus(value)
		case "metadata":
			if metadata {
				b.Metadata = object(value)
			}
		}
	})
	switch {
	case err != nil:
	case strings.TrimSpace(b.Scope.Type) == "" || strings.TrimSpace(b.Scope.Value) == "":
		err = errNoScope
	default:
		err = badStatus
	}
	if err != nil {
		return checker.Block{}, fmt.Errorf("decode block: %w", err)
	}
	if b.Message == "" {
		b.Message = DefaultMessage
	}
	if b.StatusCode == 0 {
		b.StatusCode = DefaultStatus
	}
	if !ValidBlockID(b.ID) {
		b.ID = ""
	}
	return b, nil
}

// eachMember calls do with every member of a JSON object, in order; one that is there twice comes
// twice. Name and value are good until do returns, and the name is as it was written, without the
// quotes.
func eachMember(raw []byte, do func(name, value []byte)) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	switch kind := dec.PeekKind(); kind {
	case '{':
	case '}', ']', 0:
		return errNoJSON
	default:
		return errNoObject
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadValue()
		if err != nil {
			return err
		}
		end := int(dec.InputOffset()) - len(`"`)
		name = raw[end-len(name)+len(`""`) : end] // the decoder's own is gone with the next read
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		do(name, value)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if rest := bytes.TrimLeft(raw[dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return errNoJSON
	}
	return nil
}

// text reads a scalar as text; null, lists and objects are "".
func text(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	switch raw[0] {
	case '"':
		if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
			return string(inner)
		}
		var s string
		_ = json.Unmarshal(raw, &s) // part of a document that parsed
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(raw)
}

// object reads a JSON object, numbers as they stand; anything else is nil.
func object(raw []byte) map[string]any {
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	var m map[string]any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	_ = dec.Decode(&m) // part of a document that parsed
	return m
}

// readStatus reads what Python's int() does, numbers and numeric text. What is
// empty there, or no HTTP status, is the default.
func readStatus(raw []byte) (int, error) {
	value := strings.TrimSpace(text(raw))
	switch value {
	case "", "false", "true":
		return DefaultStatus, nil
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || raw[0] == '"' && strings.ContainsAny(value, ".eExX") {
		return 0, errStatus
	}
	if f < 100 || f >= 1000 {
		return DefaultStatus, nil
	}
	return int(f), nil
}

// isoTime is a time as Python's datetime.isoformat writes it: microseconds or
// none, and an offset; null for the zero time.
type isoTime time.Time

const (
	isoMicro = "2006-01-02T15:04:05.000000-07:00"
	isoWhole = "2006-01-02T15:04:05-07:00"
)

// FormatTime writes t the way block values and enforcement events carry times.
func FormatTime(t time.Time) string {
	t = t.UTC().Truncate(time.Microsecond)
	if t.Nanosecond() == 0 {
		return t.Format(isoWhole)
	}
	return t.Format(isoMicro)
}

func (t isoTime) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + FormatTime(time.Time(t)) + `"`), nil
}

// ReadTime reads an ISO 8601 time in JSON to the microsecond; what it can't
// read is the zero time.
func ReadTime(raw []byte) time.Time {
	if len(raw) == 0 || raw[0] != '"' {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(text(raw), " ", "T", 1))
	if t = t.UTC().Truncate(time.Microsecond); err != nil || t.Year() < 0 || t.Year() > 9999 { // an offset may lead out of what can be written
		return time.Time{}
	}
	return t
}
