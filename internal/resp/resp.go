// Package resp sends commands to Redis and reads their replies from the bytes of the protocol,
// RESP2.
//
// go-redis decodes replies too, but at several times the cost, and a read is in the way of every
// entry. It also cannot bound the size of a reply, and turns the fields of stream entries into
// maps, which lose their order and repeated names.
package resp

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrMalformed says that a reply is not what the protocol or the command promise.
var ErrMalformed = errors.New("malformed reply")

// An Error is an error that Redis replied with, such as "NOGROUP No such key…".
type Error string

func (e Error) Error() string { return string(e) }

// RedisError makes it a redis.Error.
func (Error) RedisError() {}

// IsError reports whether err is an error reply of Redis that starts with code. The empty code
// stands for every error reply.
func IsError(err error, code string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), code)
}
