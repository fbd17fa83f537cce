package redislookup

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

var visitor = checker.Subject{IP: netip.MustParseAddr("203.0.113.9"), User: "42", Session: "s1", Path: "/x"}

// BenchmarkCheck measures a check of three scopes beside what it can't be faster
// than, a GET over a socket without any client, and beside go-redis's bare GET, in one run.
func BenchmarkCheck(b *testing.B) {
	b.Run("floor/raw-get", benchRawGet)
	b.Run("floor/go-redis-get", benchClientGet)
	for _, permanent := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("clean/permanent=%d", permanent), func(b *testing.B) {
			f := newFixture(b)
			fill(b, f, permanent)
			benchCheck(b, f, visitor, false)
		})
	}
	b.Run("hit/temporary", func(b *testing.B) {
		f := newFixture(b)
		f.complete()
		f.key(made(address, "temp", time.Hour))
		benchCheck(b, f, visitor, true)
	})
	b.Run("hit/permanent", func(b *testing.B) {
		f := newFixture(b)
		f.complete()
		f.member(made(user, "perm", 0))
		benchCheck(b, f, visitor, true)
	})
}

func benchCheck(b *testing.B, f fixture, s checker.Subject, blocked bool) {
	c := checker.New(f.lookup(WithPermanentTier()), checker.WithTimeout(time.Minute))
	c.Check(b.Context(), s) // connects
	b.ReportAllocs()
	for b.Loop() {
		if d := c.Check(b.Context(), s); d.Err != nil || d.Blocked != blocked {
			b.Fatalf("Check = %+v", d)
		}
	}
}

// fill writes a membership hash of n permanent blocks.
func fill(b *testing.B, f fixture, n int) {
	b.Helper()
	f.complete()
	for from := 0; from < n; from += 1000 {
		values := make([]any, 0, 2000)
		for i := from; i < min(n, from+1000); i++ {
			values = append(values, "user:u"+strconv.Itoa(i), `{"r":"sensitive_field_change"}`)
		}
		f.must(f.client.HSet(b.Context(), f.keys.Permanent(), values...).Err())
	}
}

func benchClientGet(b *testing.B) {
	f := newFixture(b)
	key := f.keys.Block(address)
	f.client.Get(b.Context(), key)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.client.Get(b.Context(), key).Err(); err != redis.Nil { //nolint:errorlint // measured as bare as can be
			b.Fatal(err)
		}
	}
}

func benchRawGet(b *testing.B) {
	env := testenv.Redis(b)
	conn, err := net.Dial("tcp", env.Client.Options().Addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	key := env.Prefix + ":block:ip:203.0.113.9"
	request := []byte("*2\r\n$3\r\nGET\r\n$" + strconv.Itoa(len(key)) + "\r\n" + key + "\r\n")
	reply, in := make([]byte, len("$-1\r\n")), bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(in, reply); err != nil || string(reply) != "$-1\r\n" {
			b.Fatalf("reply %q, %v", reply, err)
		}
	}
}
