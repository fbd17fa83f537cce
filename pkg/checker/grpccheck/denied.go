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

// Denied returns the error that answers a blocked call: the code that stands for the status of d, its
// message, and RetryInfo (AIP-193) unless the block is permanent. The reason, the rule and the scope
// stay here.
//
// 429 is ResourceExhausted, 401 Unauthenticated, 503 Unavailable, and every other status
// PermissionDenied.
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
