package pgstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// prepare returns p in a form that the table can hold. Texts that only describe the block are cut;
// an ID or scope that does not fit is an error.
func prepare(p store.Put, limits map[string]int, now time.Time) (store.Put, error) {
	p, err := store.Prepare(p, now)
	if err != nil {
		return p, fmt.Errorf("prepare block: %w", err)
	}
	b := &p.Block
	if err := checkScope(b.Scope, limits); err != nil {
		return p, err
	}
	b.Reason, b.Rule, b.Message = clean(b.Reason, limits["reason"]), clean(b.Rule, limits["rule_name"]), clean(b.Message, limits["message"])
	if _, err := encodeMetadata(store.State{Block: *b}); err != nil {
		return p, err
	}
	return p, nil
}

func checkScope(s checker.Scope, limits map[string]int) error {
	switch {
	case !storable(s.Type) || !storable(s.Value):
		return fmt.Errorf("scope %q is not valid UTF-8 without NUL: %w", s, store.ErrUnstorable)
	case tooLong(s.Type, limits["scope_type"]) || tooLong(s.Value, limits["scope_value"]):
		return fmt.Errorf("scope of %d characters is longer than its columns: %w", utf8.RuneCountInString(s.String()), store.ErrUnstorable)
	}
	return nil
}

func tooLong(text string, limit int) bool { return limit > 0 && utf8.RuneCountInString(text) > limit }

// clean makes text valid for a column of at most limit characters; 0 means no limit.
func clean(text string, limit int) string {
	if !storable(text) {
		text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
	}
	if tooLong(text, limit) {
		text = string([]rune(text)[:limit])
	}
	return text
}

// encodeMetadata returns the metadata column of a block: its metadata and the fields for which the
// table has no column.
func encodeMetadata(s store.State) (string, error) {
	m := make(map[string]any, len(s.Block.Metadata)+2)
	maps.Copy(m, s.Block.Metadata)
	delete(m, idKey)
	delete(m, becameKey)
	if s.Block.ID != "" {
		m[idKey] = s.Block.ID
	}
	if s.Became {
		m[becameKey] = true
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("%w: encode metadata: %w", store.ErrUnstorable, err)
	}
	if !bytes.Contains(raw, []byte(`\u0000`)) {
		return string(raw), nil
	}
	clean, err := json.Marshal(withoutNUL(decodeMetadata(raw)))
	if err != nil {
		return "", fmt.Errorf("%w: encode metadata: %w", store.ErrUnstorable, err)
	}
	return string(clean), nil
}

// withoutNUL copies a JSON value without NUL, which jsonb cannot hold.
func withoutNUL(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "")
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = withoutNUL(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, inner := range v {
			out[strings.ReplaceAll(k, "\x00", "")] = withoutNUL(inner)
		}
		return out
	}
	return v
}

// decodeMetadata decodes a JSON object with numbers unchanged; nil for anything else.
func decodeMetadata(raw []byte) map[string]any {
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		return nil
	}
	return m
}

// A row is a scanned row. Nullable columns are pointers; after a left join, all are nullable.
type row struct {
	scope                 checker.Scope
	reason, rule, message *string
	status                *int16
	metadata              []byte
	created, expires      *time.Time
}

func (r *row) targets() []any {
	return []any{&r.scope.Type, &r.scope.Value, &r.reason, &r.rule, &r.status, &r.message, &r.metadata, &r.created, &r.expires}
}

func (r *row) state() store.State {
	b := checker.Block{Scope: r.scope, Metadata: decodeMetadata(r.metadata), StatusCode: wire.DefaultStatus, Message: wire.DefaultMessage}
	if r.reason != nil {
		b.Reason = *r.reason
	}
	if r.rule != nil {
		b.Rule = *r.rule
	}
	if r.message != nil && *r.message != "" {
		b.Message = *r.message
	}
	if r.status != nil {
		b.StatusCode = wire.ValidStatus(int(*r.status))
	}
	if r.created != nil {
		b.CreatedAt = r.created.UTC()
	}
	if r.expires != nil {
		b.ExpiresAt = r.expires.UTC()
	}
	id, _ := b.Metadata[idKey].(string)
	if wire.ValidBlockID(id) {
		b.ID = id
	}
	_, became := b.Metadata[becameKey]
	delete(b.Metadata, idKey)
	delete(b.Metadata, becameKey)
	return store.State{Block: b, Became: became}
}

// scan reads a row of the columns that all statements return.
func scan(from pgx.CollectableRow) (store.State, error) {
	var r row
	if err := from.Scan(r.targets()...); err != nil {
		return store.State{}, fmt.Errorf("read row: %w", err)
	}
	return r.state(), nil
}

// scanState reads a row of the state statement.
func scanState(from pgx.CollectableRow) (checker.Scope, store.State, error) {
	var r row
	var tombstone *time.Time
	if err := from.Scan(append(r.targets(), &tombstone)...); err != nil {
		return r.scope, store.State{}, fmt.Errorf("read row: %w", err)
	}
	var s store.State
	if r.created != nil { // there is a row
		s = r.state()
	}
	if tombstone != nil {
		s.Tombstone = tombstone.UTC()
	}
	return r.scope, s, nil
}

// A rowSet holds rows as columns, for unnest.
type rowSet struct {
	types, values, reasons, rules, messages, metadata []string
	status                                            []int16
	created                                           []time.Time
	expires                                           []*time.Time
}

func (r *rowSet) add(s store.State) error {
	b := s.Block
	metadata, err := encodeMetadata(s)
	if err != nil {
		return err
	}
	var expires *time.Time
	if !b.Permanent() {
		expires = &b.ExpiresAt
	}
	r.types, r.values = append(r.types, b.Scope.Type), append(r.values, b.Scope.Value)
	r.reasons, r.rules = append(r.reasons, b.Reason), append(r.rules, b.Rule)
	r.status, r.messages = append(r.status, int16(b.StatusCode)), append(r.messages, b.Message) //nolint:gosec // three digits
	r.metadata = append(r.metadata, metadata)
	r.created, r.expires = append(r.created, b.CreatedAt), append(r.expires, expires)
	return nil
}

func (r *rowSet) args() []any {
	return []any{r.types, r.values, r.reasons, r.rules, r.status, r.messages, r.metadata, r.created, r.expires}
}
