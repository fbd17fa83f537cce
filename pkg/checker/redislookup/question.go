package redislookup

import (
	"sync"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A question is one look-up's: what to read, and what Redis said. Questions are used again, so that a
// check allocates little.
type question struct {
	keys   []string // of the blocks
	fields []string // of the membership hash
	reply  reply

	alone    [1]*question // itself
	answered chan struct{}
	until    time.Time // the look-up's deadline
	gone     bool      // nobody waits for the reply any more
	text     []byte
	ends     []int
}

// A reply is what Redis said: for each scope the values of its block key and of
// its field in the membership hash, nil where there is none.
type reply struct {
	blocks  []any
	members []any
	cold    bool  // the membership hash was read and isn't complete
	err     error // what couldn't be read
}

// questions keeps questions for use again.
type questions struct{ pool sync.Pool }

// about returns a question about scopes. Its keys and fields are parts of one string.
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

// done gives q back. Nobody may use it any more.
func (p *questions) done(q *question) {
	clear(q.keys)
	clear(q.fields)
	q.reply = reply{}
	p.pool.Put(q)
}
