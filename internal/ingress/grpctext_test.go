package ingress

import (
	"bytes"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// notUTF8 stands in a message for marker: Protocol Buffers for Go send no such text themselves,
// Envoy's for C++ do.
const marker, notUTF8 = "QQQQ", "\xff\xfe\xc3\x28"

// envoyCodec sends bytes as they are.
type envoyCodec struct{ lenientCodec }

func (c envoyCodec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
	}
	return c.lenientCodec.Marshal(v)
}

// withBytes is a request in whose texts the marker has become bytes that are not UTF-8.
func withBytes(t testing.TB, req *authv3.CheckRequest) []byte {
	t.Helper()
	raw, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(raw, []byte(marker), []byte(notUTF8))
}

// TestExtAuthzTextThatIsNotUTF8: bytes that are not UTF-8, in whatever the client chose, change
// nothing about the decision.
func TestExtAuthzTextThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	_, conn := startGRPC(t, onRedis(blocked(t)))
	for name, ask := range map[string]func(client string) *authv3.CheckRequest{
		"path":          func(client string) *authv3.CheckRequest { return request(client, "/a"+marker+"?b="+marker) },
		"header":        func(client string) *authv3.CheckRequest { return request(client, "/", "user-agent", "a"+marker) },
		"header's name": func(client string) *authv3.CheckRequest { return request(client, "/", "x-"+marker, "a") },
		"a claim beside": func(client string) *authv3.CheckRequest {
			return request(client, "/", "x-forwarded-for", marker+", "+client)
		},
		"method and host": func(client string) *authv3.CheckRequest {
			r := request(client, "/")
			http := r.GetAttributes().GetRequest().GetHttp()
			http.Method, http.Host, http.Protocol, http.Body = marker, marker, marker, marker
			return r
		},
		"everywhere": func(client string) *authv3.CheckRequest {
			r := request(client, "/"+marker, marker, marker)
			r.Attributes.ContextExtensions = map[string]string{marker: marker}
			return r
		},
	} {
		for client, want := range map[string]int{visitor: 200, attacker: 429, exile: 403} {
			res := &authv3.CheckResponse{}
			err := conn.Invoke(t.Context(), authv3.Authorization_Check_FullMethodName, withBytes(t, ask(client)), res, grpc.ForceCodecV2(envoyCodec{newLenientCodec()}))
			if got := code(res); err != nil || got != want {
				t.Errorf("%s, %s: %d, %v; want %d", name, client, got, err, want)
			}
		}
	}
}

// FuzzExtAuthzMessage: whatever bytes come, reading them ends, and text in a message never keeps it
// from being read.
func FuzzExtAuthzMessage(f *testing.F) {
	valid := withBytes(f, request(attacker, "/"+marker, marker, marker))
	f.Add(valid, "a")
	f.Add([]byte{0x0a, 0xff}, "\xff")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		codec := newLenientCodec()
		_ = codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(bytes.Clone(raw))}, &authv3.CheckRequest{})
		if len(text) != len(marker) {
			return
		}
		with, err := proto.Marshal(request(attacker, "/"+marker, "x-a", marker))
		if err != nil {
			t.Fatal(err)
		}
		got := &authv3.CheckRequest{}
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(bytes.ReplaceAll(with, []byte(marker), []byte(text)))}, got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
