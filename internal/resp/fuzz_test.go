package resp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// FuzzReplies feeds replies to what reads them. What is accepted must be the same once go-redis has
// decoded it and it has been encoded again.
func FuzzReplies(f *testing.F) {
	f.Add([]byte(goodRead))
	f.Add([]byte("*-1\r\n"))
	f.Add([]byte("-UNBLOCKED the stream key no longer exists\r\n"))
	f.Add([]byte("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n"))
	f.Add([]byte("*1\r\n*2\r\n$1\r\ns\r\n*99\r\n*2\r\n$-1\r\n"))
	f.Add([]byte("*2\r\n:7\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"))
	f.Add([]byte("*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"))
	f.Add([]byte("*2\r\n$3\r\n0-0\r\n*2\r\n$-1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n"))
	f.Add([]byte("*3\r\n$3\r\n0-0\r\n*0\r\n*1\r\n$3\r\n1-0\r\n"))
	f.Add([]byte("*4\r\n$3\r\n0-0\r\n*0\r\n*1\r\n$3\r\n1-0\r\n*0\r\n"))
	decode := goRedis(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, read := range map[string]func([]byte) (any, error){
			"ReadGroup": func(raw []byte) (any, error) { return ReadGroup(raw) },
			"Range":     func(raw []byte) (any, error) { return Range(raw) },
			"AutoClaim": func(raw []byte) (any, error) { return AutoClaim(raw) },
			"CountAndEntries": func(raw []byte) (any, error) {
				n, entries, err := CountAndEntries(raw)
				return []any{n, entries}, err
			},
		} {
			got, err := read(raw)
			if err != nil {
				var reply redis.Error
				if !errors.Is(err, ErrMalformed) && !errors.As(err, &reply) {
					t.Fatalf("%s(%q): error %v", name, raw, err)
				}
				continue
			}
			if name == "AutoClaim" && !bytes.HasPrefix(raw, []byte("*2\r\n")) && !bytes.HasPrefix(raw, []byte("*3\r\n")) {
				continue // what follows the three parts is not read
			}
			tree, err := decode(raw)
			if err != nil && !errors.Is(err, redis.Nil) {
				t.Fatalf("%s accepts %q, go-redis does not: %v", name, raw, err)
			}
			again, err := read(encoded(t, tree))
			if err != nil || !reflect.DeepEqual(got, again) {
				t.Fatalf("%s(%q): %+v at first, %+v of what go-redis decoded, %v", name, raw, got, again, err)
			}
		}
	})
}

// goRedis returns a function that has go-redis decode a reply.
func goRedis(f *testing.F) func(raw []byte) (any, error) {
	f.Helper()
	replies := make(chan []byte, 1)
	client := redis.NewClient(&redis.Options{
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go serve(theirs, replies)
			return ours, nil
		},
		Protocol: 2, MaxRetries: -1, PoolSize: 1, DisableIdentity: true, ReadTimeout: time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	f.Cleanup(func() { _ = client.Close() })
	return func(raw []byte) (any, error) {
		replies <- raw
		return client.Do(context.Background(), "GET", "x").Result()
	}
}

// serve answers GET with what is to be decoded, and says of anything else that it does not know it.
func serve(conn net.Conn, replies <-chan []byte) {
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		reply := []byte("-ERR unknown command\r\n")
		if strings.Contains(string(buf[:n]), "GET") {
			reply = <-replies
		}
		if _, err := conn.Write(reply); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}
