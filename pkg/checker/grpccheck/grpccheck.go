// Package grpccheck puts a [checker.Checker] in front of the methods of a gRPC server.
//
// A call is checked once, before its handler runs; a stream that is open stays open. By default only the
// client's address is checked: the peer's, or what trusted proxies say in the metadata x-forwarded-for or what
// [checker.TrustedProxies] names.
// [WithSubject] adds who the application knows the client to be. The Subject's Path is the full method
// ("/shop.Orders/Pay"), so [checker.WithFailClosed] names the methods that are denied when the look-up fails.
package grpccheck

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/wardstream/wardstream/pkg/checker"
)

// ErrNoClient is the failure of a check whose call shows no client address, such as one over a Unix
// socket. The fail mode decides.
var ErrNoClient = checker.ErrNoClient

// An Option changes what the interceptors do.
type Option func(*interceptor)

type interceptor struct {
	checker *checker.Checker
	proxies checker.TrustedProxies
	subject func(context.Context, *checker.Subject)
	skip    []func(ctx context.Context, method string) bool
	denied  func(context.Context, checker.Decision) error
}

// WithTrustedProxies says which peers' x-forwarded-for, or other header, is believed. By default nobody's is, and the peer is
// the client.
func WithTrustedProxies(t checker.TrustedProxies) Option {
	return func(i *interceptor) { i.proxies = t }
}

// WithSubject has fill complete the Subject, which comes with IP and Path set: with a user or session
// that an interceptor before this one has authenticated, or by replacing what is there. It must not take identities
// from metadata that a client can set.
func WithSubject(fill func(context.Context, *checker.Subject)) Option {
	return func(i *interceptor) { i.subject = fill }
}

// WithSkip lets calls pass unchecked if skip says so. It may be given several times.
func WithSkip(skip func(ctx context.Context, method string) bool) Option {
	return func(i *interceptor) { i.skip = append(i.skip, skip) }
}

// WithSkipMethods lets calls of these full methods pass unchecked, as in "/grpc.health.v1.Health/Check". A name
// that ends in a slash stands for all methods of a service.
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

// WithDenied replaces [Denied] as the answer to blocked calls. The error that answer returns is the
// call's; where it returns nil, the call is answered with [Denied] all the same. Either way
// the trailer has [checker.HeaderDenied].
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

// Stream returns an interceptor that checks every streaming call with c when it begins.
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
	// Without a transport stream, as in tests of a handler, there is nobody to tell.
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
