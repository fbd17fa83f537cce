package lenienthttp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// Bounds of what is kept of a request's head, in bytes. What isn't kept is read and forgotten, so
// that no request is too large to be answered.
const (
	maxHead   = 16 << 20 // more than any proxy takes from a client
	maxTarget = 64 << 10
	maxValues = 16 << 10 // of one header, all its lines together
	lineCost  = 32       // what a line costs besides its text
	maxBlank  = 8        // empty lines before a request
)

// elided stands for what was left out: on the left of a header's values, where proxies append on
// the right. No address, path or name has a NUL.
const elided = "\x00"

// badEscape ends a target that was cut, so that no reader takes the beginning of a path for the
// whole.
const badEscape = "%"

// errHead says that a head was given up: it is larger than maxHead.
var errHead = errors.New("the head of the request is larger than any proxy makes it")

// A head is what was made out of the first lines of a request. It is used again for each request of
// a connection.
type head struct {
	method string
	target string // in origin form, such as /nginx?x=1; "" if there is none
	minor  int    // of HTTP/1.minor
	body   bool   // a body is announced; it is never read
	fields []field

	lost             bool // where the next request begins isn't known, or whether the client understands us
	close, keepAlive bool // what the header Connection asks for

	left int    // bytes that may still be read
	buf  []byte // a line that was read in pieces
}

// A field is a header that the server keeps: its canonical name and the values of its lines.
type field struct {
	name  string
	lines []string
	size  int
}

// reusable reports whether the connection may carry another request. After a body it doesn't: a
// proxy that announced one and didn't send it would have its next request taken for the body.
func (h *head) reusable() bool {
	return !h.lost && !h.body && !h.close && (h.minor > 0 || h.keepAlive)
}

func newHead(names []string) *head {
	h := &head{fields: make([]field, len(names))}
	for i, name := range names {
		h.fields[i].name = name
	}
	return h
}

// read reads a head up to and with its empty line. It fails only where the connection does: a
// request line that can't be understood leaves the target empty, lines that are not headers are
// skipped, and of a head that is too large only the request line is kept.
func (h *head) read(r *bufio.Reader) error {
	h.reset()
	err := h.requestLine(r)
	for err == nil {
		var more bool
		if more, err = h.field(r); err == nil && !more {
			return nil
		}
	}
	if !errors.Is(err, errHead) {
		return err
	}
	h.lost, h.body = true, true // what comes is more of it
	h.forget()
	return nil
}

func (h *head) reset() {
	buf := h.buf[:0]
	if cap(buf) > maxValues {
		buf = nil
	}
	*h = head{fields: h.fields, buf: buf, left: maxHead}
	h.forget()
}

func (h *head) forget() {
	for i := range h.fields {
		f := &h.fields[i]
		f.lines, f.size = f.lines[:0], 0
	}
}

// piece returns the next bytes of a line, valid until the next call; last reports whether its end
// is among them, of which the line feed is left out.
func (h *head) piece(r *bufio.Reader) (text []byte, last bool, err error) {
	text, err = r.ReadSlice('\n')
	if h.left -= len(text); h.left < 0 {
		return nil, true, errHead
	}
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return text, false, nil
	case err != nil:
		return nil, true, err
	}
	return text[:len(text)-1], true, nil
}

// trimCR takes the carriage return from the end of a whole line. That of a line in pieces may be in
// the last but one.
func trimCR(line []byte) []byte { return bytes.TrimSuffix(line, []byte("\r")) }

// skip reads the rest of a line.
func (h *head) skip(r *bufio.Reader) error {
	for {
		if _, last, err := h.piece(r); err != nil || last {
			return err
		}
	}
}

func (h *head) requestLine(r *bufio.Reader) error {
	for range maxBlank {
		text, last, err := h.piece(r)
		if err != nil {
			return err
		}
		if !last {
			return h.longRequestLine(r, text)
		}
		if text = trimCR(text); len(text) > 0 {
			h.understand(string(text))
			return nil
		}
	}
	h.lost = true // empty lines for a request
	return nil
}

// longRequestLine keeps the beginning of a line that begins with text.
func (h *head) longRequestLine(r *bufio.Reader, text []byte) error {
	h.buf = append(h.buf[:0], text...)
	for {
		text, last, err := h.piece(r)
		if err != nil {
			return err
		}
		if room := maxTarget - len(h.buf); len(text) > room {
			h.method, h.target, _ = strings.Cut(string(append(h.buf, text[:room]...)), " ")
			h.target = originForm(h.target) + badEscape
			h.minor, h.lost = 1, true
			if last {
				return nil
			}
			return h.skip(r)
		}
		h.buf = append(h.buf, text...)
		if last {
			h.understand(string(trimCR(h.buf)))
			return nil
		}
	}
}

// understand takes a request line apart: the target may have blanks in it, or be missing.
func (h *head) understand(line string) {
	method, rest, _ := strings.Cut(line, " ")
	h.method = method
	h.target = rest
	version := ""
	if at := strings.LastIndexByte(rest, ' '); at >= 0 && strings.HasPrefix(rest[at+1:], "HTTP/") {
		h.target, version = rest[:at], rest[at+1:]
	} else if strings.HasPrefix(rest, "HTTP/") {
		h.target, version = "", rest
	}
	h.target = originForm(h.target)
	switch {
	case version == "HTTP/1.0" || version == "HTTP/0.9":
		h.minor = 0
	case strings.HasPrefix(version, "HTTP/1."):
		h.minor = 1
	default:
		h.minor, h.lost = 1, true // not a version of ours; answered in ours
	}
}

// originForm returns the path and query of a target that names scheme and host, and any other
// target as it is.
func originForm(target string) string {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || scheme == "" || strings.ContainsAny(scheme, "/?#") {
		return target
	}
	if at := strings.IndexAny(rest, "/?"); at >= 0 && rest[at] == '/' {
		return rest[at:]
	} else if at >= 0 {
		return "/" + rest[at:]
	}
	return "/"
}

// field reads one header, the lines that continue it included. more is false at the head's end.
func (h *head) field(r *bufio.Reader) (more bool, err error) {
	text, last, err := h.piece(r)
	if last {
		text = trimCR(text)
	}
	if err != nil || last && len(text) == 0 {
		return false, err
	}
	colon := bytes.IndexByte(text, ':')
	var keep *field
	special := ""
	if colon > 0 {
		name := text[:colon]
		if keep = h.wanted(name); keep == nil {
			special = known(name)
		}
	}
	if keep == nil && special == "" {
		return true, h.skipField(r, last)
	}
	h.buf = append(h.buf[:0], text[colon+1:]...)
	cut := false
	for {
		if last {
			if folded, err := foldedNext(r); err != nil || !folded {
				h.take(keep, special, cut)
				return true, err
			}
		}
		if text, last, err = h.piece(r); err != nil {
			return true, err
		}
		if h.buf = append(h.buf, text...); last {
			h.buf = trimCR(h.buf)
		}
		if len(h.buf) > 2*maxValues {
			h.buf, cut = append(h.buf[:0], h.buf[len(h.buf)-maxValues:]...), true
		}
	}
}

// skipField skips the rest of a header that the server does not keep.
func (h *head) skipField(r *bufio.Reader, last bool) error {
	for {
		if !last {
			if err := h.skip(r); err != nil {
				return err
			}
		}
		folded, err := foldedNext(r)
		if err != nil || !folded {
			return err
		}
		last = false
	}
}

// foldedNext reports whether the next line continues the one before it (RFC 9112, section 5.2).
func foldedNext(r *bufio.Reader) (bool, error) {
	next, err := r.Peek(1)
	if err != nil {
		return false, err
	}
	return next[0] == ' ' || next[0] == '\t', nil
}

// take notes the value in buf.
func (h *head) take(keep *field, special string, cut bool) {
	value := string(bytes.TrimSpace(h.buf))
	if len(value) > maxValues {
		value, cut = value[len(value)-maxValues:], true
	}
	if cut {
		value = elided + value
	}
	if keep != nil {
		keep.add(value)
		return
	}
	switch special {
	case "connection":
		for option := range strings.SplitSeq(value, ",") {
			switch strings.ToLower(strings.TrimSpace(option)) {
			case "close":
				h.close = true
			case "keep-alive":
				h.keepAlive = true
			}
		}
	case "content-length":
		h.body = h.body || value != "0"
	case "transfer-encoding":
		h.body = true
	}
}

// known names the headers that delimit requests.
func known(name []byte) string {
	for _, special := range [...]string{"connection", "content-length", "transfer-encoding"} {
		if len(name) == len(special) && strings.EqualFold(string(name), special) {
			return special
		}
	}
	return ""
}

func (h *head) wanted(name []byte) *field {
	for i := range h.fields {
		if f := &h.fields[i]; len(name) == len(f.name) && bytes.EqualFold(name, []byte(f.name)) {
			return f
		}
	}
	return nil
}

// add appends the value of a line. Where that becomes too much the first ones go; that there was
// more than one stays visible.
func (f *field) add(value string) {
	f.lines = append(f.lines, value)
	f.size += len(value) + lineCost
	gone := 0
	for f.size > maxValues+2*lineCost && gone < len(f.lines)-1 {
		f.size -= len(f.lines[gone]) + lineCost
		gone++
	}
	if gone > 0 {
		f.lines = f.lines[gone-1:]
		f.lines[0] = elided
		f.size += len(elided) + lineCost
	}
}

// discard reads what comes until there is nothing more, or limit bytes were read.
func discard(r io.Reader, limit int64) { _, _ = io.CopyN(io.Discard, r, limit) }
