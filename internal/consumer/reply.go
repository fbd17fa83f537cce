package consumer

import (
	"errors"
	"fmt"
	"strings"
)

// This file reads the replies of XREADGROUP, and of the script in its place, from their bytes. go-redis can read it
// too, but at several times the cost, and a read is in the way of every entry. An
// entry costs two allocations here: one string that its ID and its fields are parts of, and
// the slice of its fields. So keeping one entry doesn't keep the batch it came with.

// errReply says that a reply isn't what the protocol or the command promise.
var errReply = errors.New("malformed reply")

// A replyError is an error that Redis replied with, such as "NOGROUP No such key…".
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError makes it a redis.Error.
func (replyError) RedisError() {}

// parseRead reads the reply of XREADGROUP for one stream. No entries and no
// error: none came. Entries whose Fields are nil were trimmed while pending. All but
// the Deliveries are set.
func parseRead(raw []byte) ([]Entry, error) {
	p := replyParser{buf: raw}
	streams, null, err := p.array()
	switch {
	case err != nil:
		return nil, err
	case null:
		return nil, p.end()
	case streams != 1:
		return nil, fmt.Errorf("%w: %d streams", errReply, streams)
	}
	if n, _, err := p.array(); err != nil || n != 2 {
		return nil, errors.Join(errReply, err)
	}
	name, err := p.bulk()
	if err != nil {
		return nil, err
	}
	entries, err := p.entries(string(raw[name.start:name.end]))
	if err != nil {
		return nil, err
	}
	return entries, p.end()
}

// parseShed reads the reply of shedScript.
func parseShed(raw []byte, stream string) (skipped int, kept []Entry, err error) {
	p := replyParser{buf: raw}
	if n, _, err := p.array(); err != nil || n != 2 {
		return 0, nil, errors.Join(errReply, err)
	}
	if skipped, err = p.head(':'); err != nil || skipped < 0 {
		return 0, nil, errors.Join(errReply, err)
	}
	if kept, err = p.entries(stream); err != nil {
		return 0, nil, err
	}
	return skipped, kept, p.end()
}

// entries reads a list of entries.
func (p *replyParser) entries(stream string) ([]Entry, error) {
	n, null, err := p.array()
	if err != nil || null {
		return nil, errors.Join(errReply, err)
	}
	entries := make([]Entry, n)
	for i := range entries {
		if err := p.entry(&entries[i]); err != nil {
			return nil, err
		}
		entries[i].Stream = stream
	}
	return entries, nil
}

// A span is a part of the reply.
type span struct{ start, end int }

type replyParser struct {
	buf   []byte
	pos   int
	spans []span // of the entry being read
}

// entry reads [id, [name, value, …]] or [id, nil].
func (p *replyParser) entry(e *Entry) error {
	if n, _, err := p.array(); err != nil || n != 2 {
		return errors.Join(errReply, err)
	}
	start := p.pos
	id, err := p.bulk()
	if err != nil {
		return err
	}
	n, null, err := p.array()
	if err != nil {
		return err
	}
	if n%2 != 0 {
		return fmt.Errorf("%w: %d names and values", errReply, n)
	}
	p.spans = p.spans[:0]
	for range n {
		s, err := p.bulk()
		if err != nil {
			return err
		}
		p.spans = append(p.spans, s)
	}
	text := string(p.buf[start:p.pos])
	e.ID = text[id.start-start : id.end-start]
	if null {
		return nil
	}
	e.Fields = make([]string, n)
	for i, s := range p.spans {
		e.Fields[i] = text[s.start-start : s.end-start]
	}
	return nil
}

// array reads the head of an array; null is the absent one. Each element
// takes a byte at least, which bounds what a length may claim.
func (p *replyParser) array() (n int, null bool, err error) {
	n, err = p.head('*')
	if err != nil || n == -1 {
		return 0, n == -1, err
	}
	if n > len(p.buf)-p.pos {
		return 0, false, fmt.Errorf("%w: an array of %d in %d bytes", errReply, n, len(p.buf)-p.pos)
	}
	return n, false, nil
}

// bulk reads a string.
func (p *replyParser) bulk() (span, error) {
	n, err := p.head('$')
	if err != nil {
		return span{}, err
	}
	s := span{p.pos, p.pos + n}
	if n < 0 || n > len(p.buf)-p.pos-2 || p.buf[s.end] != '\r' || p.buf[s.end+1] != '\n' {
		return span{}, fmt.Errorf("%w: a string of %d in %d bytes", errReply, n, len(p.buf)-p.pos)
	}
	p.pos = s.end + 2
	return s, nil
}

// maxLength bounds a length; it keeps the arithmetic of head from overflowing.
const maxLength = 1 << 40

// head reads a line of kind and a length, -1 included.
func (p *replyParser) head(kind byte) (int, error) {
	if p.pos >= len(p.buf) {
		return 0, fmt.Errorf("%w: it ends early", errReply)
	}
	if p.buf[p.pos] != kind {
		return 0, p.unexpected(kind)
	}
	i, n, digits := p.pos+1, 0, 0
	negative := i < len(p.buf) && p.buf[i] == '-'
	if negative {
		i++
	}
	for ; i < len(p.buf) && '0' <= p.buf[i] && p.buf[i] <= '9' && n < maxLength; i++ {
		n = n*10 + int(p.buf[i]-'0')
		digits++
	}
	if digits == 0 || i+1 >= len(p.buf) || p.buf[i] != '\r' || p.buf[i+1] != '\n' || negative && (n != 1 || digits != 1) {
		return 0, fmt.Errorf("%w: a length at byte %d", errReply, p.pos)
	}
	p.pos = i + 2
	if negative {
		n = -1
	}
	return n, nil
}

// unexpected is the error for a line that isn't of kind: Redis's own, if it is one.
func (p *replyParser) unexpected(kind byte) error {
	rest := p.buf[p.pos:]
	if rest[0] == '-' && p.pos == 0 {
		line, _, _ := strings.Cut(string(rest[1:]), "\r\n")
		return replyError(line)
	}
	return fmt.Errorf("%w: %q for %q at byte %d", errReply, rest[0], kind, p.pos)
}

// end checks that nothing follows.
func (p *replyParser) end() error {
	if p.pos != len(p.buf) {
		return fmt.Errorf("%w: %d bytes too many", errReply, len(p.buf)-p.pos)
	}
	return nil
}
