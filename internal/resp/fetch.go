package resp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// ErrTooLarge says that a reply is larger than it may be.
var ErrTooLarge = errors.New("the reply is too large")

// Fetch sends a command to the node that has key and returns its reply. It sends it once: unlike
// the Cluster client it does not repeat it after a failure of the network, but like that follows
// redirections. A reply of more than limit bytes, where limit is not 0, is not read to its end, and
// [ErrTooLarge]. An error reply is an [Error].
func Fetch(ctx context.Context, client redis.UniversalClient, key string, limit int, args ...any) ([]byte, error) {
	var node processor = client
	cluster, ok := client.(*redis.ClusterClient)
	if ok {
		master, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return nil, err
		}
		node = master
	}
	raw, err := fetch(ctx, node, limit, args)
	if err == nil {
		err = errorReply(raw)
	}
	if ok && (IsError(err, "MOVED ") || IsError(err, "ASK ")) {
		return redirected(ctx, cluster, args)
	}
	return raw, err
}

// A processor is a client of a node or of them all.
type processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

func fetch(ctx context.Context, node processor, limit int, args []any) ([]byte, error) {
	if limit == 0 { // the faster way
		cmd := redis.NewRawCmd(ctx, args...)
		err := node.Process(ctx, cmd)
		return cmd.Val(), err
	}
	reply := &bounded{limit: limit}
	err := node.Process(ctx, redis.NewRawWriteToCmd(ctx, reply, args...))
	return reply.buf.Bytes(), err
}

// bounded takes a reply that is not too large.
type bounded struct {
	buf   bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.limit {
		return 0, ErrTooLarge
	}
	return b.buf.Write(p)
}

// redirected has the Cluster client find the node, which also makes it learn where slots are now.
// It follows redirections only of replies that it decodes itself, so that the reply is encoded
// again.
func redirected(ctx context.Context, client *redis.ClusterClient, args []any) ([]byte, error) {
	reply, err := client.Do(ctx, args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	var raw bytes.Buffer
	if err := encode(&raw, reply); err != nil {
		return nil, err
	}
	return raw.Bytes(), nil
}

// encode writes a reply as Redis does.
func encode(raw *bytes.Buffer, reply any) error {
	switch v := reply.(type) {
	case nil:
		raw.WriteString("*-1\r\n")
	case int64:
		raw.WriteString(":" + strconv.FormatInt(v, 10) + "\r\n")
	case string:
		raw.WriteString("$" + strconv.Itoa(len(v)) + "\r\n" + v + "\r\n")
	case []any:
		raw.WriteString("*" + strconv.Itoa(len(v)) + "\r\n")
		for _, element := range v {
			if err := encode(raw, element); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%w: a %T", ErrMalformed, reply)
	}
	return nil
}
