package resp

import (
	"fmt"
	"strings"
)

// A reader reads one reply, part by part. What it returns does not refer to buf. Its errors are
// [ErrMalformed], or the [Error] that the reply is.
type reader struct {
	buf   []byte
	pos   int
	spans []span // of the entry being read
}

// A span is a part of the reply.
type span struct{ start, end int }

// array reads the head of an array and returns how many elements follow; absent reports a null
// array. Each element takes a byte at least, which bounds the length that a reply can claim.
func (r *reader) array() (n int, absent bool, err error) {
	n, err = r.head('*')
	if err != nil || n == -1 {
		return 0, n == -1, err
	}
	if n > len(r.buf)-r.pos {
		return 0, false, fmt.Errorf("%w: an array of %d in %d bytes", ErrMalformed, n, len(r.buf)-r.pos)
	}
	return n, false, nil
}

// tuple reads the head of an array that has n elements.
func (r *reader) tuple(n int) error {
	got, _, err := r.array()
	if err == nil && got != n {
		err = fmt.Errorf("%w: %d elements for %d at byte %d", ErrMalformed, got, n, r.pos)
	}
	return err
}

// text reads a string.
func (r *reader) text() (string, error) {
	s, err := r.bulk()
	if err != nil {
		return "", err
	}
	return string(r.buf[s.start:s.end]), nil
}

// texts reads an array of strings.
func (r *reader) texts() ([]string, error) {
	n, _, err := r.array()
	if err != nil {
		return nil, err
	}
	texts := make([]string, n)
	for i := range texts {
		if texts[i], err = r.text(); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// count reads an integer that is not negative.
func (r *reader) count() (int, error) {
	n, err := r.head(':')
	if err == nil && n < 0 {
		err = fmt.Errorf("%w: a negative count", ErrMalformed)
	}
	return n, err
}

// null reads a null, string or array, if that is next, and reports whether it was.
func (r *reader) null() bool {
	const length = len("$-1\r\n")
	if len(r.buf)-r.pos < length || r.buf[r.pos+1] != '-' {
		return false
	}
	if next := string(r.buf[r.pos : r.pos+length]); next != "$-1\r\n" && next != "*-1\r\n" {
		return false
	}
	r.pos += length
	return true
}

// end checks that nothing follows.
func (r *reader) end() error {
	if r.pos != len(r.buf) {
		return fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(r.buf)-r.pos)
	}
	return nil
}

// bulk reads a string, as its place in the reply.
func (r *reader) bulk() (span, error) {
	n, err := r.head('$')
	if err != nil {
		return span{}, err
	}
	s := span{r.pos, r.pos + n}
	if n < 0 || n > len(r.buf)-r.pos-2 || r.buf[s.end] != '\r' || r.buf[s.end+1] != '\n' {
		return span{}, fmt.Errorf("%w: a string of %d in %d bytes", ErrMalformed, n, len(r.buf)-r.pos)
	}
	r.pos = s.end + 2
	return s, nil
}

// maxLength bounds a length; it keeps the arithmetic of head from overflowing.
const maxLength = 1 << 40

// head reads a line of kind and a number, -1 included.
func (r *reader) head(kind byte) (int, error) {
	if r.pos >= len(r.buf) {
		return 0, fmt.Errorf("%w: it ends early", ErrMalformed)
	}
	if r.buf[r.pos] != kind {
		return 0, r.unexpected(kind)
	}
	i, n, digits := r.pos+1, 0, 0
	negative := i < len(r.buf) && r.buf[i] == '-'
	if negative {
		i++
	}
	for ; i < len(r.buf) && '0' <= r.buf[i] && r.buf[i] <= '9' && n < maxLength; i++ {
		n = n*10 + int(r.buf[i]-'0')
		digits++
	}
	if digits == 0 || i+1 >= len(r.buf) || r.buf[i] != '\r' || r.buf[i+1] != '\n' || negative && (n != 1 || digits != 1) {
		return 0, fmt.Errorf("%w: a length at byte %d", ErrMalformed, r.pos)
	}
	r.pos = i + 2
	if negative {
		n = -1
	}
	return n, nil
}

// unexpected returns the error for a line that is not of kind: that of Redis, if the reply is one.
func (r *reader) unexpected(kind byte) error {
	rest := r.buf[r.pos:]
	if rest[0] == '-' && r.pos == 0 {
		return errorReply(rest)
	}
	return fmt.Errorf("%w: %q for %q at byte %d", ErrMalformed, rest[0], kind, r.pos)
}

// errorReply returns the error that a reply is, or nil.
func errorReply(raw []byte) error {
	if len(raw) == 0 || raw[0] != '-' {
		return nil
	}
	line, _, _ := strings.Cut(string(raw[1:]), "\r\n")
	return Error(line)
}
