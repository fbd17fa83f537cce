package lenienthttp

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An exchange is a request and its answer. It is used again for each request of a connection.
type exchange struct {
	head    *head
	request http.Request
	url     url.URL
	remote  string
	asked   http.Header // the headers of the request

	header http.Header // of the answer
	status int         // 0: not set
	body   bytes.Buffer
	out    bytes.Buffer
}

func newExchange(headers []string, remote string) *exchange {
	return &exchange{head: newHead(headers), remote: remote, asked: http.Header{}, header: http.Header{}}
}

// maxKept is the largest buffer that a connection keeps between requests, in bytes.
const maxKept = 16 << 10

// answer has h make the answer.
func (x *exchange) answer(h http.Handler) {
	clear(x.header)
	clear(x.asked)
	x.status = 0
	for _, b := range []*bytes.Buffer{&x.body, &x.out} {
		if b.Reset(); b.Cap() > maxKept {
			*b = bytes.Buffer{}
		}
	}
	for i := range x.head.fields {
		if f := &x.head.fields[i]; len(f.lines) > 0 {
			x.asked[f.name] = f.lines
		}
	}
	x.url = url.URL{}
	x.url.Path, x.url.RawQuery, _ = strings.Cut(x.head.target, "?")
	x.request = http.Request{
		Method: x.head.method, RequestURI: x.head.target, URL: &x.url, Proto: "HTTP/1." + strconv.Itoa(x.head.minor), ProtoMajor: 1,
		ProtoMinor: x.head.minor, Header: x.asked, Body: http.NoBody, RemoteAddr: x.remote, Close: !x.head.reusable(),
	}
	h.ServeHTTP(x, &x.request)
}

// Header, WriteHeader and Write make an exchange the [http.ResponseWriter] of its answer.
func (x *exchange) Header() http.Header { return x.header }

// WriteHeader sets the status, once.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= http.StatusOK {
		x.status = status
	}
}

// Write adds to the body.
func (x *exchange) Write(p []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	return x.body.Write(p) //nolint:wrapcheck // it never fails
}

// response returns the bytes of the answer.
func (x *exchange) response(again bool, now time.Time) []byte {
	x.WriteHeader(http.StatusOK)
	out := &x.out
	out.WriteString(x.request.Proto)
	out.WriteByte(' ')
	out.Write(strconv.AppendInt(out.AvailableBuffer(), int64(x.status), 10))
	out.WriteByte(' ')
	out.WriteString(http.StatusText(x.status))
	out.WriteString("\r\nDate: ")
	out.Write(now.UTC().AppendFormat(out.AvailableBuffer(), http.TimeFormat))
	out.WriteString("\r\n")
	if x.body.Len() > 0 && x.header["Content-Type"] == nil {
		x.header.Set("Content-Type", http.DetectContentType(x.body.Bytes()))
	}
	if len(x.header) > 0 {
		_ = x.header.Write(out) // a buffer takes it all; line ends in values become blanks
	}
	switch {
	case !again:
		out.WriteString("Connection: close\r\n")
	case x.head.minor == 0:
		out.WriteString("Connection: keep-alive\r\n")
	}
	if x.status != http.StatusNoContent && x.status != http.StatusNotModified {
		out.WriteString("Content-Length: ")
		out.Write(strconv.AppendInt(out.AvailableBuffer(), int64(x.body.Len()), 10))
		out.WriteString("\r\n")
	}
	out.WriteString("\r\n")
	if x.request.Method != http.MethodHead {
		out.Write(x.body.Bytes())
	}
	return out.Bytes()
}
