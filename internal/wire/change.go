package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
)

// AllChanged stands in a change for every scope there is.
const AllChanged = "*"

// A Position is a place in the stream of changes. The zero Position is before the first.
type Position struct {
	Epoch string // drawn anew whenever the stream begins anew
	Seq   int64  // of the change within its epoch, from 1
	ID    string // of its entry
}

var errPosition = errors.New("want epoch, number and entry ID")

// ReadPosition reads the value of the ChangesHead key.
func ReadPosition(head string) (Position, error) {
	fields := strings.Split(head, " ")
	if len(fields) != 3 || fields[0] == "" || fields[2] == "" {
		return Position{}, fmt.Errorf("read head of changes: %w", errPosition)
	}
	seq, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || seq < 1 {
		return Position{}, fmt.Errorf("read head of changes: %w", errPosition)
	}
	return Position{Epoch: fields[0], Seq: seq, ID: fields[2]}, nil
}

// A Change is one entry of the stream of changes. It names what changed and not what it is now: who
// follows looks that up, so that the order in which writers come by doesn't matter.
type Change struct {
	At   Position
	Prev string // the ID of the entry before; "" for an epoch's first
	// Scopes are those whose blocks changed. Scopes whose values are hashed in keys are not known
	// and are left out.
	Scopes []checker.Scope
	All    bool // anything may have changed
}

var errChange = errors.New("want epoch, seq, prev and scopes")

// ReadChange reads an entry of the stream of changes. Its fields are epoch, seq, prev and, numbered
// from 0, the MemberField of each scope; readers must put up with others.
func ReadChange(id string, values map[string]any) (Change, error) {
	epoch, _ := values["epoch"].(string)
	number, _ := values["seq"].(string)
	prev, ok := values["prev"].(string)
	seq, err := strconv.ParseInt(number, 10, 64)
	if id == "" || epoch == "" || !ok || err != nil || seq < 1 {
		return Change{}, fmt.Errorf("read change %s: %w", id, errChange)
	}
	c := Change{At: Position{Epoch: epoch, Seq: seq, ID: id}, Prev: prev}
	for i := 0; ; i++ {
		field, ok := values[strconv.Itoa(i)].(string)
		if !ok {
			return c, nil
		}
		if field == AllChanged {
			c.All = true
		} else if scope, ok := rediskey.FieldScope(field); ok {
			c.Scopes = append(c.Scopes, scope)
		}
	}
}

// Follows reports whether c comes right after p, with nothing in between. Each entry names the one
// before it: after a failover that lost entries, numbers and times alone may look as if nothing had
// happened.
func (c Change) Follows(p Position) bool {
	if p.Seq == 0 {
		return c.At.Seq == 1 && c.Prev == ""
	}
	return c.At.Epoch == p.Epoch && c.At.Seq == p.Seq+1 && c.Prev == p.ID
}

// ChangedFields are what a change says of scopes, each once.
func ChangedFields(scopes []checker.Scope) []string {
	fields := make([]string, len(scopes))
	for i, s := range scopes {
		fields[i] = rediskey.MemberField(s)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}
