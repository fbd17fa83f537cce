package grpccheck

import (
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/wardstream/wardstream/pkg/checker"
)

// Denied returns the gRPC error for a blocked call, with d's message and, unless the block is
// permanent, RetryInfo (AIP-193). It does not reveal the reason, the rule or the scope.
//
// The code is ResourceExhausted for status 429, Unauthenticated for 401, Unavailable for 503 and
// PermissionDenied for every other status.
func Denied(d checker.Decision) error {
	s := status.New(code(d.StatusCode), strings.ToValidUTF8(d.Message, "\uFFFD"))
	if d.RetryAfter > 0 {
		if detailed, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d.RetryAfter)}); err == nil {
			s = detailed
		}
	}
	return s.Err()
}

func code(status int) codes.Code {
	switch status {
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	}
	return codes.PermissionDenied
}
