// Package grpccheck provides gRPC server interceptors for a [checker.Checker].
//
// A call is checked once, before its handler runs; a later block does not end an open stream. By
// default only the client's address is checked: the peer, or the address that trusted proxies send
// in the metadata x-forwarded-for or the header of [checker.TrustedProxies]. [WithSubject] adds the
// authenticated user or session. The Subject's Path is the full method ("/shop.Orders/Pay"), so
// [checker.WithFailClosed] selects the methods that are denied when the look-up fails.
package grpccheck

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/wardstream/wardstream/pkg/checker"
)

// ErrNoClient is the error of a check of a call without a client address, such as one over a Unix
// socket. The fail mode decides about it.
var ErrNoClient = checker.ErrNoClient

// An Option configures the interceptors.
type Option func(*interceptor)

type interceptor struct {
	checker *checker.Checker
	proxies checker.TrustedProxies
	subject func(context.Context, *checker.Subject)
	skip    []func(ctx context.Context, method string) bool
	denied  func(context.Context, checker.Decision) error
}

// WithTrustedProxies sets the proxies whose metadata about the client's address is believed. By
// default there are none, and the peer is the client.
func WithTrustedProxies(t checker.TrustedProxies) Option {
	return func(i *interceptor) { i.proxies = t }
}

// WithSubject calls fill to complete or replace the Subject, in which IP and Path are already set.
// Set the user or session that an earlier interceptor has authenticated, never one from metadata
// that a client can set.
func WithSubject(fill func(context.Context, *checker.Subject)) Option {
	return func(i *interceptor) { i.subject = fill }
}

// WithSkip passes calls on unchecked if skip returns true. It may be given several times.
func WithSkip(skip func(ctx context.Context, method string) bool) Option {
	return func(i *interceptor) { i.skip = append(i.skip, skip) }
}

// WithSkipMethods passes calls of these full methods on unchecked, such as
// "/grpc.health.v1.Health/Check". A name that ends in a slash includes all methods of a service.
func WithSkipMethods(methods ...string) Option {
	return WithSkip(func(_ context.Context, method string) bool {
		for _, m := range methods {
			if method == m || strings.HasSuffix(m, "/") && strings.HasPrefix(method, m) {
				return true
			}
		}
		return false
	})
}

// WithDenied replaces [Denied] as the source of the error of blocked calls. If answer returns nil,
// the error of [Denied] is used. In both cases the trailer has [checker.HeaderDenied].
func WithDenied(answer func(context.Context, checker.Decision) error) Option {
	return func(i *interceptor) { i.denied = answer }
}

// Unary returns an interceptor that checks every unary call with c.
func Unary(c *checker.Checker, opts ...Option) grpc.UnaryServerInterceptor {
	i := newInterceptor(c, opts)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if err := i.admit(ctx, info.FullMethod); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// Stream returns an interceptor that checks every streaming call with c when it starts.
func Stream(c *checker.Checker, opts ...Option) grpc.StreamServerInterceptor {
	i := newInterceptor(c, opts)
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if err := i.admit(stream.Context(), info.FullMethod); err != nil {
			return err
		}
		return next(srv, stream)
	}
}

func newInterceptor(c *checker.Checker, opts []Option) *interceptor {
	i := &interceptor{checker: c}
	for _, opt := range opts {
		opt(i)
	}
	return i
}

// admit returns the error that denies a call, or nil.
func (i *interceptor) admit(ctx context.Context, method string) error {
	for _, skip := range i.skip {
		if skip(ctx, method) {
			return nil
		}
	}
	d := i.check(ctx, method)
	if !d.Blocked {
		return nil
	}
	// Fails only without a transport stream, as in tests of a handler.
	_ = grpc.SetTrailer(ctx, metadata.Pairs(checker.HeaderDenied, "true"))
	if i.denied != nil {
		if err := i.denied(ctx, d); err != nil {
			return err
		}
	}
	return Denied(d)
}

func (i *interceptor) check(ctx context.Context, method string) checker.Decision {
	s := checker.Subject{Path: method}
	addr, ok := i.proxies.ClientAddr(peerAddr(ctx), metadata.ValueFromIncomingContext(ctx, i.proxies.HeaderName()))
	s.IP = addr
	if i.subject != nil {
		i.subject(ctx, &s)
	}
	d := i.checker.Check(ctx, s)
	if !ok && !s.IP.IsValid() && !d.Blocked && d.Err == nil {
		return i.checker.Fail(ctx, s, ErrNoClient)
	}
	return d
}

func peerAddr(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String()
	}
	return ""
}
