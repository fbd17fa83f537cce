package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// MemberEnd is the Lua pattern that finds the end of a block in a value of the
// membership hash, in milliseconds since 1970; a permanent block has none. Within JSON
// strings quotes are escaped, so nothing there can look like it.
const MemberEnd = `[{,]"e":(%d+)[,}]`

// memberJSON is a value of the membership hash: enough to deny without the block's key, and
// short, since there is one for each permanent block. What is usual is left out.
type memberJSON struct {
	Status  int    `json:"s,omitempty"`
	Rule    string `json:"r,omitempty"`
	Message string `json:"m,omitempty"`
	Expires *int64 `json:"e,omitempty"` // milliseconds since 1970
	ID      string `json:"i,omitempty"`
}

var errMemberStatus = errors.New("s is not an HTTP status")

// EncodeMember writes the membership hash's value for a block that Postgres has.
func EncodeMember(b checker.Block) ([]byte, error) {
	j := memberJSON{Status: ValidStatus(b.StatusCode), Rule: b.Rule, Message: b.Message, ID: b.ID}
	if j.Status == DefaultStatus {
		j.Status = 0
	}
	if j.Message == DefaultMessage {
		j.Message = ""
	}
	if !b.Permanent() {
		end := b.ExpiresAt.UnixMilli()
		j.Expires = &end
	}
	raw, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("encode member: %w", err)
	}
	return raw, nil
}

// DecodeMember reads the value that the membership hash has for s. The block
// may have ended: see [checker.Block.ActiveAt]. Its reason, beginning and
// metadata aren't in the hash.
func DecodeMember(s checker.Scope, raw []byte) (checker.Block, error) {
	var j memberJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return checker.Block{}, fmt.Errorf("decode member: %w", err)
	}
	if j.Status == 0 {
		j.Status = DefaultStatus
	}
	if j.Status != ValidStatus(j.Status) {
		return checker.Block{}, fmt.Errorf("decode member: %w", errMemberStatus)
	}
	b := checker.Block{ID: j.ID, Scope: s, Rule: j.Rule, StatusCode: j.Status, Message: j.Message}
	if b.Message == "" {
		b.Message = DefaultMessage
	}
	if j.Expires != nil {
		b.ExpiresAt = time.UnixMilli(*j.Expires).UTC()
	}
	return b, nil
}
