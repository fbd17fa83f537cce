package ingress

import (
	"context"
	"net"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// Bounds of gRPC. Envoy sends a request's headers (60 KiB at most by default), and its body only if
// configured to. We never need that, but a message that is refused is a client that is let pass.
const (
	maxMessageBytes = 4 << 20
	maxStreams      = 1024 // calls under way on a connection
	grpcHeaderBytes = 16 << 10
	pingInterval    = time.Minute
	pingTimeout     = 20 * time.Second
	minPingInterval = 10 * time.Second // pings that come faster end the connection
)

// A grpcServer is a gRPC server that stops like a [net/http.Server].
type grpcServer struct {
	server *grpc.Server
	health *health.Server
}

func newGRPCServer(authz authv3.AuthorizationServer) *grpcServer {
	s := &grpcServer{
		server: grpc.NewServer(
			grpc.MaxRecvMsgSize(maxMessageBytes), grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(grpcHeaderBytes),
			grpc.ConnectionTimeout(headerTimeout), grpc.ForceServerCodecV2(newLenientCodec()),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingInterval, Timeout: pingTimeout}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
		),
		health: health.NewServer(),
	}
	authv3.RegisterAuthorizationServer(s.server, authz)
	grpc_health_v1.RegisterHealthServer(s.server, s.health)
	s.health.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	return s
}

// Serve answers on l until it is stopped.
func (s *grpcServer) Serve(l net.Listener) error {
	return s.server.Serve(l) //nolint:wrapcheck // the caller does
}

// Shutdown says that it stops, and waits for the calls under way until ctx ends.
func (s *grpcServer) Shutdown(ctx context.Context) error {
	s.health.Shutdown()
	stopped := make(chan struct{})
	go func() {
		s.server.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		s.server.Stop() // which ends GracefulStop too
		<-stopped
		return context.Cause(ctx)
	}
}

// Close stops at once.
func (s *grpcServer) Close() error {
	s.server.Stop()
	return nil
}
