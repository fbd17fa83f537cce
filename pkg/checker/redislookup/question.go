package redislookup

import (
	"sync"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A question is what one look-up reads from Redis, and the reply. Questions are pooled so that a
// check allocates little.
type question struct {
	keys   []string // of the blocks
	fields []string // of the membership hash
	reply  reply

	alone    [1]*question // itself
	answered chan struct{}
	until    time.Time // the look-up's deadline
	gone     bool      // the look-up returned without the reply
	text     []byte
	ends     []int
}

// A reply holds, for each scope, the values of its block key and of its field in the membership
// hash; nil for a missing one.
type reply struct {
	blocks  []any
	members []any
	cold    bool  // the membership hash was read and is not complete
	err     error // of reading
}

// questions is a pool of questions.
type questions struct{ pool sync.Pool }

// about returns a question about scopes. Its keys and fields are substrings of one string.
func (p *questions) about(keys rediskey.Keys, scopes []checker.Scope) *question {
	q, ok := p.pool.Get().(*question)
	if !ok {
		q = &question{answered: make(chan struct{}, 1)}
		q.alone[0] = q
	}
	q.text, q.ends = q.text[:0], q.ends[:0]
	for _, s := range scopes {
		q.text = keys.AppendBlock(q.text, s)
		q.ends = append(q.ends, len(q.text))
	}
	text, from := string(q.text), 0
	q.keys, q.fields = q.keys[:0], q.fields[:0]
	for _, end := range q.ends {
		q.keys = append(q.keys, text[from:end])
		q.fields = append(q.fields, text[from+keys.FieldAt():end])
		from = end
	}
	return q
}

// done returns q to the pool. It must not be used afterwards.
func (p *questions) done(q *question) {
	clear(q.keys)
	clear(q.fields)
	q.reply = reply{}
	p.pool.Put(q)
}
