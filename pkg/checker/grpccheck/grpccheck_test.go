package grpccheck_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/grpccheck"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const (
	attacker, visitor = "203.0.113.9", "198.51.100.7"
	checkMethod       = "/grpc.health.v1.Health/Check"
	watchMethod       = "/grpc.health.v1.Health/Watch"
)

// A store is the Redis of one test.
type store struct {
	t   testing.TB
	env *testenv.RedisEnv
}

func newStore(t testing.TB) store { return store{t, testenv.Redis(t)} }

// block writes a block as detectors do; a ttl of 0 makes a permanent one.
func (s store) block(typ, value string, statusCode int, ttl time.Duration) {
	s.t.Helper()
	keys := rediskey.Keys{Prefix: s.env.Prefix}
	b := checker.Block{
		Scope: checker.Scope{Type: typ, Value: value}, Rule: "secret-rule", Reason: "secret-reason",
		StatusCode: statusCode, Message: "not \xff you", CreatedAt: time.Now(),
	}
	raw, err := wire.EncodeMember(b)
	if ttl > 0 {
		b.ExpiresAt = time.Now().Add(ttl)
		raw, err = wire.EncodeBlock(b)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if ttl > 0 {
		err = s.env.Client.Set(s.t.Context(), keys.Block(b.Scope), raw, ttl).Err()
	} else {
		err = s.env.Client.HSet(s.t.Context(), keys.Permanent(), rediskey.MemberField(b.Scope), raw).Err()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s store) checker(opts ...checker.Option) *checker.Checker {
	s.t.Helper()
	client, err := redislookup.Connect(s.env.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close() })
	opts = append([]checker.Option{checker.WithTimeout(10 * time.Second)}, opts...) // the machine may be busy
	return checker.New(redislookup.New(client, redislookup.WithKeyPrefix(s.env.Prefix)), opts...)
}

// serve starts a server with the health service behind the interceptors, and returns its client.
// network is tcp or unix.
func serve(t testing.TB, network string, c *checker.Checker, opts ...grpccheck.Option) healthpb.HealthClient {
	t.Helper()
	address := map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")}[network]
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpccheck.Unary(c, opts...)), grpc.StreamInterceptor(grpccheck.Stream(c, opts...)))
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	target := l.Addr().String()
	if network == "unix" {
		target = "unix:" + target
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return healthpb.NewHealthClient(conn)
}

// calls are one unary and one streaming call, with metadata in pairs.
func calls(t testing.TB, client healthpb.HealthClient, md ...string) map[string]error {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), md...), 30*time.Second)
	defer cancel()
	_, unary := client.Check(ctx, &healthpb.HealthCheckRequest{})
	stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	return map[string]error{"unary": unary, "stream": err}
}

func wantCode(t testing.TB, what string, errs map[string]error, want codes.Code) {
	t.Helper()
	for kind, err := range errs {
		if got := status.Code(err); got != want {
			t.Errorf("%s, %s call: %v (%v), want %v", what, kind, got, err, want)
		}
	}
}

func TestAllowedCallsReachTheHandler(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.block("ip", attacker, 429, time.Minute)
	wantCode(t, "a visitor", calls(t, serve(t, "tcp", s.checker())), codes.OK)
}

// TestDenial: the code, message and RetryInfo of every kind of block, and nothing that is ours.
func TestDenial(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		ttl    time.Duration
		want   codes.Code
	}{
		"429": {429, time.Minute, codes.ResourceExhausted}, "403": {403, time.Minute, codes.PermissionDenied},
		"401": {401, time.Minute, codes.Unauthenticated}, "503": {503, time.Minute, codes.Unavailable},
		"451": {451, time.Minute, codes.PermissionDenied}, "permanent": {429, 0, codes.ResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			s.block("ip", "127.0.0.1", tc.status, tc.ttl)
			for kind, err := range calls(t, serve(t, "tcp", s.checker())) {
				got := status.Convert(err)
				if got.Code() != tc.want || got.Message() != "not \uFFFD you" {
					t.Errorf("%s: %v", kind, err)
				}
				var retry time.Duration
				for _, detail := range got.Details() {
					if info, ok := detail.(*errdetails.RetryInfo); ok {
						retry = info.GetRetryDelay().AsDuration()
					}
				}
				if tc.ttl == 0 && retry != 0 || tc.ttl > 0 && (retry <= 0 || retry > tc.ttl || retry%time.Second != 0) {
					t.Errorf("%s: RetryInfo says %s of a block of %s", kind, retry, tc.ttl)
				}
			}
		})
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.block("ip", attacker, 403, time.Minute)
	proxies, err := checker.ParseTrustedProxies([]string{"127.0.0.0/8"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	trusting := serve(t, "tcp", s.checker(), grpccheck.WithTrustedProxies(proxies))
	plain := serve(t, "tcp", s.checker())
	proxies.Header = checker.HeaderForwarded
	forwarded := serve(t, "tcp", s.checker(), grpccheck.WithTrustedProxies(proxies))
	for name, tc := range map[string]struct {
		client healthpb.HealthClient
		md     []string
		want   codes.Code
	}{
		"no trusted proxy":         {plain, []string{"x-forwarded-for", attacker}, codes.OK},
		"trusted peer":             {trusting, []string{"x-forwarded-for", attacker}, codes.PermissionDenied},
		"claims stand to the left": {trusting, []string{"x-forwarded-for", visitor + ", " + attacker}, codes.PermissionDenied},
		"values are one list":      {trusting, []string{"x-forwarded-for", visitor, "x-forwarded-for", attacker}, codes.PermissionDenied},
		"a claim to be blocked":    {trusting, []string{"x-forwarded-for", attacker + ", " + visitor}, codes.OK},
		"other names":              {trusting, []string{"x-real-ip", attacker, "forwarded", "for=" + attacker, "x-envoy-external-address", attacker}, codes.OK},
		"another header":           {forwarded, []string{"x-forwarded-for", visitor, "forwarded", "for=" + attacker}, codes.PermissionDenied},
		"garbage":                  {trusting, []string{"x-forwarded-for", attacker + ", junk"}, codes.OK},
	} {
		wantCode(t, name, calls(t, tc.client, tc.md...), tc.want)
	}
}

func TestSubjectOfTheApplication(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.block("user", "42", 403, time.Minute)
	client := serve(t, "tcp", s.checker(), grpccheck.WithSubject(func(ctx context.Context, s *checker.Subject) {
		if s.IP.String() != "127.0.0.1" || s.Path != checkMethod && s.Path != watchMethod {
			t.Errorf("the subject comes as %+v", s)
		}
		if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get("token")) == 1 { // stands for authentication
			s.User = md.Get("token")[0]
		}
	}))
	wantCode(t, "user 42", calls(t, client, "token", "42"), codes.PermissionDenied)
	wantCode(t, "user 43", calls(t, client, "token", "43"), codes.OK)
	wantCode(t, "nobody", calls(t, client), codes.OK)
}

func TestSkip(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.block("ip", "127.0.0.1", 403, 0)
	c := s.checker()
	for name, opt := range map[string]grpccheck.Option{
		"methods": grpccheck.WithSkipMethods("/other.Service/", checkMethod, watchMethod), "service": grpccheck.WithSkipMethods("/grpc.health.v1.Health/"),
		"function": grpccheck.WithSkip(func(_ context.Context, m string) bool { return m == checkMethod || m == watchMethod }),
	} {
		wantCode(t, name, calls(t, serve(t, "tcp", c, opt)), codes.OK)
	}
	for name, opt := range map[string]grpccheck.Option{
		"service without its slash": grpccheck.WithSkipMethods("/grpc.health.v1.Health"), "another service": grpccheck.WithSkipMethods("/grpc.health.v1.Heal/"),
	} {
		wantCode(t, name, calls(t, serve(t, "tcp", c, opt)), codes.PermissionDenied)
	}
}

func TestDenialsAreMarkedInTheTrailer(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.block("ip", "127.0.0.1", 403, time.Minute)
	own := grpccheck.WithDenied(func(context.Context, checker.Decision) error { return status.Error(codes.Aborted, "no") })
	for name, opts := range map[string][]grpccheck.Option{"denied": nil, "own answer": {own}} {
		var trailer metadata.MD
		_, err := serve(t, "tcp", s.checker(), opts...).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.Trailer(&trailer))
		if got := trailer.Get(checker.HeaderDenied); err == nil || len(got) != 1 || got[0] != "true" {
			t.Errorf("%s: %v, trailer %v", name, err, trailer)
		}
	}
	var trailer metadata.MD
	free := newStore(t)
	_, err := serve(t, "tcp", free.checker()).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.Trailer(&trailer))
	if err != nil || trailer.Get(checker.HeaderDenied) != nil {
		t.Errorf("allowed: %v, trailer %v", err, trailer)
	}
}

func TestDeniedAnswerCanBeReplaced(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.block("ip", "127.0.0.1", 403, time.Minute)
	own := grpccheck.WithDenied(func(_ context.Context, d checker.Decision) error {
		return status.Error(codes.Aborted, d.Block.Scope.Type)
	})
	wantCode(t, "own answer", calls(t, serve(t, "tcp", s.checker(), own)), codes.Aborted)
	none := grpccheck.WithDenied(func(context.Context, checker.Decision) error { return nil })
	wantCode(t, "no answer", calls(t, serve(t, "tcp", s.checker(), none)), codes.PermissionDenied)
}

// TestFailMode: with Redis gone, and with no client address to be seen.
func TestFailMode(t *testing.T) {
	t.Parallel()
	gone := testenv.PrivateRedis(t)
	lost := store{t, &gone.RedisEnv}
	closed := checker.WithFailClosed(regexp.MustCompile("^" + regexp.QuoteMeta(watchMethod) + "$"))
	gone.Kill()
	for network, s := range map[string]store{"tcp": lost, "unix": newStore(t)} {
		failures := make(chan error, 2)
		heard := checker.WithOnError(func(_ context.Context, _ checker.Subject, d checker.Decision) { failures <- d.Err })
		errs := calls(t, serve(t, network, s.checker(closed, heard)))
		if errs["unary"] != nil || status.Code(errs["stream"]) != codes.ResourceExhausted {
			t.Errorf("%s: open method %v, closed method %v", network, errs["unary"], errs["stream"])
		}
		for range 2 {
			if err := <-failures; errors.Is(err, grpccheck.ErrNoClient) != (network == "unix") {
				t.Errorf("%s: failure %v", network, err)
			}
		}
	}
}

func TestIdentityWithoutClientAddress(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.block("user", "42", 403, time.Minute)
	fill := grpccheck.WithSubject(func(_ context.Context, s *checker.Subject) { s.User = "42" })
	wantCode(t, "a blocked user over a Unix socket", calls(t, serve(t, "unix", s.checker(), fill)), codes.PermissionDenied)
}
