package consumer

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/resp"
)

// isGroupGone reports whether err means that the group or the stream is gone.
// UNBLOCKED comes to those that waited when the stream was deleted.
func isGroupGone(err error) bool {
	return resp.IsError(err, "NOGROUP") || resp.IsError(err, "UNBLOCKED")
}

// isOutOfMemory reports whether Redis refused a write for lack of memory; 6.2 wraps what
// it says in a script.
func isOutOfMemory(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && (strings.HasPrefix(reply.Error(), "OOM ") || strings.Contains(reply.Error(), "-OOM command"))
}

// isTransient reports whether what failed may be over at any time: an outage, an election, a
// restart.
func isTransient(err error) bool {
	if !resp.IsError(err, "") {
		return true
	}
	for _, code := range []string{"LOADING ", "MASTERDOWN ", "CLUSTERDOWN ", "READONLY ", "TRYAGAIN "} {
		if resp.IsError(err, code) {
			return true
		}
	}
	return false
}

// isTimeout reports whether err says that a command took too long.
func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}
