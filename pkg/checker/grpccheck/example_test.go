package grpccheck_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/grpccheck"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// Two interceptors protect a server.
func Example() {
	client, err := redislookup.Connect("redis://localhost:6379/0")
	if err != nil {
		panic(err)
	}
	c := checker.New(redislookup.New(client))
	skip := grpccheck.WithSkipMethods("/grpc.health.v1.Health/")
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpccheck.Unary(c, skip)),
		grpc.ChainStreamInterceptor(grpccheck.Stream(c, skip)),
	)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go server.Stop() // an application would not
	_ = server.Serve(l)
}

// blocks is a Lookup over a fixed list.
type blocks []checker.Block

func (b blocks) Lookup(_ context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	var found []checker.Block
	for _, block := range b {
		for _, s := range scopes {
			if block.Scope == s {
				found = append(found, block)
			}
		}
	}
	return found, nil
}

func (blocks) HonoursDeadline() bool { return true }

// A blocked client's call ends with a code, a message and how long to wait.
func ExampleUnary() {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := checker.New(blocks{{
		Scope:   checker.IPScope(netip.MustParseAddr("127.0.0.1"), 0),
		Message: "Too many failed logins", ExpiresAt: now.Add(5 * time.Minute),
	}}, checker.WithClock(func() time.Time { return now }))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpccheck.Unary(c)))
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	defer server.Stop()

	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	s := status.Convert(err)
	fmt.Println(s.Code(), "-", s.Message())
	for _, detail := range s.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			fmt.Println("retry in", retry.GetRetryDelay().AsDuration())
		}
	}
	// Output:
	// ResourceExhausted - Too many failed logins
	// retry in 5m0s
}
