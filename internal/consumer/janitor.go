package consumer

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/redislua"
)

//go:embed scripts/remove_consumers.lua
var removeSource string

var removeScript = redislua.New(prelude + removeSource)

// A janitor removes consumers of the group that are gone.
type janitor struct {
	*member
	idle time.Duration // after which a consumer that owns nothing is gone
}

func (j *janitor) sweep(ctx context.Context) error {
	names, err := removeConsumers(ctx, j.clients.Ops, j.stream, j.group, "", j.idle)
	if len(names) > 0 {
		j.log.Info("removed consumers that are gone", "names", names)
	}
	return err
}

// removeConsumers removes the named consumer, or all if name is empty, if they own
// nothing and have been idle for as long.
func removeConsumers(ctx context.Context, client redis.UniversalClient, stream, group, name string, idle time.Duration) ([]string, error) {
	names, err := removeScript.Run(ctx, client, []string{stream}, group, name, idle.Milliseconds()).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("remove consumers: %w", err)
	}
	return names, nil
}
