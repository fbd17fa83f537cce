package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
)

// networkFaults are those of the way between the workers and their stores.
func networkFaults() []fault {
	var out []fault
	for _, server := range []string{"redis", "postgres"} {
		out = append(out,
			fault{name: "cut from " + server, do: cut(server)},
			// Both ways, so that requests may be lost, and replies to requests that were carried
			// out.
			fault{name: "half-open to " + server, do: toxics(server, "timeout", `{"timeout": 0}`, "downstream")},
			fault{name: "no way to " + server, do: toxics(server, "timeout", `{"timeout": 0}`, "upstream", "downstream")},
			fault{name: "far from " + server, do: toxics(server, "latency", `{"latency": 150, "jitter": 100}`, "downstream")},
			fault{name: "narrow way to " + server, do: toxics(server, "bandwidth", `{"rate": 20}`, "upstream", "downstream")},
			fault{name: "torn off " + server, do: toxics(server, "limit_data", `{"bytes": 3000}`, "downstream")},
		)
	}
	return out
}

// cut breaks all connections and refuses others.
func cut(server string) maker {
	return func(_ context.Context, w *world, _ *rand.Rand) (func() error, error) {
		w.links[server].Stop()
		return func() error {
			if err := w.links[server].Start(); !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
				return err
			}
			return nil
		}, nil
	}
}

// toxics does something to what goes one way, or both.
func toxics(server, kind, attributes string, ways ...string) maker {
	return func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
		for _, way := range ways {
			text := fmt.Sprintf(`{"name": "%s %s", "type": %q, "stream": %q, "attributes": %s}`, kind, way, kind, way, attributes)
			if _, err := w.links[server].Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
				return nil, err
			}
		}
		return func() error {
			w.links[server].Toxics.ResetToxics(ctx)
			return nil
		}, nil
	}
}
