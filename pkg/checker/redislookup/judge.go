package redislookup

import (
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// judge returns the active blocks in the reply.
func (l *Lookup) judge(q *question, scopes []checker.Scope) ([]checker.Block, error) {
	var found []checker.Block
	err, now := q.reply.err, l.now()
	for i, scope := range scopes {
		b, ok, blockErr := l.block(q, i, scope, now)
		if ok {
			found = append(found, b)
		}
		if blockErr != nil {
			err = errors.Join(err, blockErr)
		}
	}
	return found, err
}

// block returns the stronger of the active blocks in the key and the field of scope i. A corrupt
// value is an error and does not hide the other block.
func (l *Lookup) block(q *question, i int, scope checker.Scope, now time.Time) (b checker.Block, ok bool, err error) {
	if r := q.reply.blocks; i < len(r) && r[i] != nil {
		if b, err = l.decodeBlock(r[i]); err != nil {
			b, err = checker.Block{}, fmt.Errorf("%w at key %q: %w", ErrCorrupt, q.keys[i], err)
		} else {
			b.Scope = scope // the key says what is blocked
			ok = b.ActiveAt(now)
		}
	}
	if r := q.reply.members; i < len(r) && r[i] != nil {
		m, memberErr := decodeMember(scope, r[i])
		switch {
		case memberErr != nil:
			memberErr = fmt.Errorf("%w in field %q of %q: %w", ErrCorrupt, q.fields[i], l.hash, memberErr)
			err = errors.Join(err, memberErr)
		case m.ActiveAt(now) && (!ok || m.Stronger(b)):
			b, ok = m, true
		}
	}
	return b, ok, err
}

var errNoText = errors.New("not a string")

func (l *Lookup) decodeBlock(v any) (checker.Block, error) {
	text, ok := v.(string)
	switch {
	case !ok:
		return checker.Block{}, errNoText
	case l.metadata:
		return wire.DecodeBlock([]byte(text))
	}
	return wire.DecodeDenial([]byte(text))
}

func decodeMember(scope checker.Scope, v any) (checker.Block, error) {
	text, ok := v.(string)
	if !ok {
		return checker.Block{}, errNoText
	}
	return wire.DecodeMember(scope, []byte(text))
}
