package ingress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// envoy connects to the gRPC listener as Envoy does.
func envoy(t testing.TB, target string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// request is what Envoy sends about a request, with headers in pairs.
func request(source, path string, headers ...string) *authv3.CheckRequest {
	merged := map[string]string{}
	for n := 0; n < len(headers); n += 2 {
		merged[headers[n]] = headers[n+1]
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: source, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711}},
		}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: path, Host: "app.example.com", Headers: merged,
		}},
	}}
}

// raw turns the headers into what encode_raw_headers makes Envoy send.
func raw(req *authv3.CheckRequest, more ...string) *authv3.CheckRequest {
	request := req.GetAttributes().GetRequest().GetHttp()
	request.HeaderMap = &corev3.HeaderMap{}
	for name, value := range request.GetHeaders() {
		more = append([]string{name, value}, more...)
	}
	request.Headers = nil
	for n := 0; n < len(more); n += 2 {
		request.HeaderMap.Headers = append(request.HeaderMap.Headers, &corev3.HeaderValue{Key: more[n], RawValue: []byte(more[n+1])})
	}
	return req
}

func check(t testing.TB, conn *grpc.ClientConn, req *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	res, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.ValidateAll(); err != nil {
		t.Errorf("Envoy wouldn't take %v: %v", res, err)
	}
	return res
}

// code is the status that the client gets, 200 for a request that passes.
func code(res *authv3.CheckResponse) int {
	if codes.Code(res.GetStatus().GetCode()) == codes.OK && res.GetOkResponse() != nil {
		return 200
	}
	return int(res.GetDeniedResponse().GetStatus().GetCode())
}

// startGRPC starts a server with a gRPC listener, and connects to it.
func startGRPC(t testing.TB, change func(*Options)) (*instance, *grpc.ClientConn) {
	t.Helper()
	i := start(t, func(o *Options) {
		o.GRPCAddr = "127.0.0.1:0"
		change(o)
	})
	return i, envoy(t, i.server.GRPCAddr(), insecure.NewCredentials())
}

func TestExtAuthz(t *testing.T) {
	t.Parallel()
	_, conn := startGRPC(t, onRedis(blocked(t)))
	res := check(t, conn, request(visitor, "/x"))
	if code(res) != 200 || len(res.GetOkResponse().GetHeaders()) != 0 {
		t.Errorf("allowed: %v", res)
	}
	res = check(t, conn, request(attacker, "/x"))
	headers := map[string]string{}
	for _, h := range res.GetDeniedResponse().GetHeaders() {
		headers[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	if code(res) != 429 || codes.Code(res.GetStatus().GetCode()) != codes.PermissionDenied || res.GetDeniedResponse().GetBody() != "slow down" ||
		(headers["retry-after"] != "60" && headers["retry-after"] != "59") || headers["cache-control"] != "no-store" || headers["x-wardstream-denied"] != "true" ||
		headers["content-type"] != "text/plain; charset=utf-8" || len(headers) != 5 || res.GetDynamicMetadata() != nil {
		t.Errorf("temporary: %v", res)
	}
	res = check(t, conn, request(exile, "/x", "accept", "application/json"))
	if code(res) != 403 || res.GetDeniedResponse().GetBody() != `{"title":"Forbidden","status":403,"detail":"go away"}` ||
		strings.Contains(fmt.Sprint(res), "retry-after") || !strings.Contains(fmt.Sprint(res), "application/problem+json") {
		t.Errorf("permanent: %v", res)
	}
}

// TestExtAuthzClient: Envoy's peer and, if that is a trusted proxy, the chain that led to it.
func TestExtAuthzClient(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	blockIn(t, env, "user", "bad", time.Minute)
	_, conn := startGRPC(t, func(o *Options) {
		onRedis(env)(o)
		o.UserHeader, o.FailClosedPaths, o.TrustedProxies = "X-User", []string{"^/pay"}, []string{"127.0.0.1", "10.0.0.0/8"}
	})
	const xff, balancer = "x-forwarded-for", "10.0.0.1"
	for name, tc := range map[string]struct {
		req  *authv3.CheckRequest
		want int
	}{
		"the client claims to be another":           {request(attacker, "/x", xff, visitor+","+attacker), 429},
		"and Envoy doesn't add it":                  {request(attacker, "/x", xff, visitor), 429},
		"the client accuses another":                {request(visitor, "/x", xff, attacker), 200},
		"behind a balancer":                         {request(balancer, "/x", xff, attacker), 429},
		"behind a balancer, which Envoy adds":       {request(balancer, "/x", xff, attacker+", "+balancer), 429},
		"behind two, with a claim":                  {request(balancer, "/x", xff, visitor+","+attacker+", 10.0.0.2,"+balancer), 429},
		"claims to be a balancer":                   {request(balancer, "/x", xff, "10.9.9.9,"+attacker), 429},
		"the balancer names no client":              {request(balancer, "/pay"), 200},
		"garbage":                                   {request(balancer, "/pay", xff, "junk"), 429},
		"garbage, open path":                        {request(balancer, "/x", xff, "junk"), 200},
		"no source":                                 {request("", "/pay"), 429},
		"no source, open path":                      {request("", "/x"), 200},
		"a pipe for a source":                       {request("/run/x.sock", "/pay", xff, visitor), 429},
		"nothing at all":                            {&authv3.CheckRequest{}, 429},
		"other headers":                             {request(balancer, "/x", xff, attacker, "x-real-ip", visitor, "forwarded", "for="+visitor, "x_forwarded_for", visitor, "X-Forwarded-For", visitor), 429},
		"raw headers":                               {raw(request(balancer, "/x", xff, attacker)), 429},
		"raw headers, lines are one list":           {raw(request(balancer, "/x", xff, visitor), xff, attacker), 429},
		"a user":                                    {request(visitor, "/x", "x-user", "bad"), 429},
		"a user twice, closed path":                 {request(visitor, "/pay", "x-user", "good,better"), 429},
		"a user twice, open path":                   {request(visitor, "/x", "x-user", "good,better"), 200},
		"raw: a user with a comma":                  {raw(request(visitor, "/pay"), "x-user", "good,better"), 200},
		"raw: a user twice":                         {raw(request(visitor, "/pay"), "x-user", "good", "x-user", "better"), 429},
		"the query isn't the path":                  {request(balancer, "/x?/../pay", xff, "junk"), 200},
		"a path that isn't clean":                   {request(balancer, "/x/..//pay?a", xff, "junk"), 429},
		"a path that is encoded":                    {request(balancer, "/%70ay", xff, "junk"), 429},
		"no path":                                   {request(balancer, "", xff, "junk"), 429},
		"mapped source":                             {request("::ffff:"+attacker, "/x"), 429},
		"the source among X-Forwarded-For, twisted": {request(balancer, "/x", xff, visitor+","+balancer+","+attacker), 429},
	} {
		if got := code(check(t, conn, tc.req)); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), xff, visitor)
	if res, err := authv3.NewAuthorizationClient(conn).Check(ctx, request(attacker, "/x")); err != nil || code(res) != 429 {
		t.Errorf("metadata of the call: %v, %v", res, err)
	}
}

func TestExtAuthzTrustedProxyCount(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	_, conn := startGRPC(t, func(o *Options) {
		onRedis(env)(o)
		o.TrustedProxyCount = 2
	})
	for xff, want := range map[string]int{
		visitor + "," + attacker: 429, attacker + "," + visitor: 200, visitor + "," + attacker + ",10.0.0.1": 429, "": 200,
	} {
		if got := code(check(t, conn, request("10.0.0.1", "/x", "x-forwarded-for", xff))); got != want {
			t.Errorf("%q: %d, want %d", xff, got, want)
		}
	}
}

// TestExtAuthzUntrustedPeer: a peer that isn't trusted is the client, whatever it says.
func TestExtAuthzUntrustedPeer(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	blockIn(t, env, "user", "bad", time.Minute)
	i, conn := startGRPC(t, func(o *Options) {
		onRedis(env)(o)
		o.TrustedProxies, o.UserHeader = nil, "X-User"
	})
	if got := code(check(t, conn, request(attacker, "/x", "x-user", "bad"))); got != 200 {
		t.Errorf("a stranger accuses another: %d", got)
	}
	blockIn(t, env, "ip", "127.0.0.1", time.Minute)
	if got := code(check(t, conn, request(visitor, "/x"))); got != 429 {
		t.Errorf("a stranger excuses itself: %d", got)
	}
	if text := i.ask("/metrics").body; !strings.Contains(text, "wardstream_ingress_untrusted_forwarded_total 2") {
		t.Errorf("not counted in\n%s", text)
	}
}

// TestExtAuthzStatus: Envoy refuses a status that it doesn't know.
func TestExtAuthzStatus(t *testing.T) {
	t.Parallel()
	a := &extAuthz{status: 429, reasons: true}
	for given, want := range map[int]int{451: 429, 418: 429, 599: 429, 503: 503, 401: 401} {
		d := checker.Decision{Blocked: true, StatusCode: given, Message: "\xff", Block: checker.Block{Scope: checker.Scope{Type: "ip", Value: attacker}, Rule: "r\xff"}}
		res := a.denied(d, nil)
		if got := code(res); got != want {
			t.Errorf("%d becomes %d, want %d", given, got, want)
		}
		if fields := res.GetDynamicMetadata().GetFields(); fields["X-Wardstream-Scope"].GetStringValue() != "ip" || strings.Contains(fmt.Sprint(fields), attacker) {
			t.Errorf("reasons %v", fields)
		}
	}
}

func TestExtAuthzFailMode(t *testing.T) {
	t.Parallel()
	_, conn := startGRPC(t, func(o *Options) {
		o.RedisURL, o.FailClosedPaths = "redis://"+testenv.ClosedPort(t), []string{"^/pay"}
	})
	for path, want := range map[string]int{"/x": 200, "/pay/1?x": 429, "": 429} {
		if got := code(check(t, conn, request(visitor, path))); got != want {
			t.Errorf("%q: %d, want %d", path, got, want)
		}
	}
}

// TestExtAuthzBounds: a message can't be as large as one likes, nor may others call.
func TestExtAuthzBounds(t *testing.T) {
	t.Parallel()
	_, conn := startGRPC(t, onRedis(blocked(t)))
	client := authv3.NewAuthorizationClient(conn)
	if _, err := client.Check(t.Context(), request(visitor, strings.Repeat("x", maxMessageBytes))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too large a message: %v", err)
	}
	if got := code(check(t, conn, request(attacker, "/x", "cookie", strings.Repeat("x", 60<<10)))); got != 429 {
		t.Errorf("the largest headers Envoy takes: %d", got)
	}
	if err := conn.Invoke(t.Context(), "/envoy.service.auth.v3.Authorization/Nope", request(visitor, "/"), &authv3.CheckResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("another method: %v", err)
	}
}

// TestGRPCStopsGracefully: it says that it stops, finishes the call under way, and takes no other.
func TestGRPCStopsGracefully(t *testing.T) {
	t.Parallel()
	address, asked := silentRedis(t)
	i, conn := startGRPC(t, func(o *Options) { o.RedisURL, o.Timeout = "redis://"+address, 500*time.Millisecond })
	health, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := health.Recv(); err != nil || res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatalf("health %v, %v", res, err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := authv3.NewAuthorizationClient(conn).Check(context.Background(), request(visitor, "/"))
		answered <- err
	}()
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- i.stop() }()
	if res, err := health.Recv(); err != nil || res.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health when stopping: %v, %v", res, err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := conn.Close(); err != nil { // which ends the watch
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
	if conn, err := net.Dial("tcp", i.server.GRPCAddr()); err == nil {
		_ = conn.Close()
		t.Error("it still listens")
	}
}

// TestGRPCOverTLS is TLS and a Unix socket at once.
func TestGRPCOverTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cert, key, _ := tlsFiles(t, a)
	socket := t.TempDir() + "/g.sock"
	start(t, func(o *Options) {
		onRedis(blocked(t))(o)
		o.GRPCAddr, o.TrustUnix, o.TLSCert, o.TLSKey = "unix:"+socket, true, cert, key
	})
	conn := envoy(t, "unix:"+socket, credentials.NewTLS(&tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1"}))
	for source, want := range map[string]int{attacker: 429, visitor: 200} {
		testenv.Eventually(t, 10*time.Second, func() error {
			if got := code(check(t, conn, request(source, "/x"))); got != want {
				return fmt.Errorf("%s: %d, want %d", source, got, want)
			}
			return nil
		})
	}
}

// FuzzExtAuthzSubject: nothing in a request panics, and what an untrusted source adds changes
// nothing.
func FuzzExtAuthzSubject(f *testing.F) {
	f.Add(attacker, "/x", "6.6.6.6, 10.0.0.1", "u")
	f.Add("10.0.0.1", "http://h/x?y", "junk", "a,b")
	trust, err := checker.ParseTrustedProxies([]string{"10.0.0.0/8"}, 0)
	if err != nil {
		f.Fatal(err)
	}
	o := Options{UserHeader: "X-User"}
	a := &extAuthz{gate: &gate{metrics: newMetrics(), distrust: &limiter{}, lone: &lonePeer{}, now: time.Now, log: discard()}, clients: clients{proxies: trust, identities: o.identities()}}
	f.Fuzz(func(t *testing.T, source, path, xff, user string) {
		req := request(source, path, "x-forwarded-for", xff, "x-user", user)
		for _, remote := range []string{"10.0.0.9:1", "192.0.2.1:1"} {
			s, err := a.subject(t.Context(), remote, req.GetAttributes())
			addr, known := checker.ParseAddr(source)
			switch {
			case remote == "192.0.2.1:1" && (s.IP.String() != "192.0.2.1" || s.User != "" || s.Path != ""):
				t.Fatalf("a stranger is believed: %+v", s)
			case remote == "10.0.0.9:1" && known && !trust.Trusts(addr) && (s.IP != addr || errors.Is(err, checker.ErrNoClient)):
				t.Fatalf("the source %s comes out as %v, %v", source, s.IP, err)
			case strings.ContainsAny(s.Path, "?#") && !strings.Contains(path, "%"):
				t.Fatalf("path %q of %q", s.Path, path)
			}
		}
	})
}
