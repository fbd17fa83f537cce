package sinkset

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
)

// TestSinksAreConfigured: which sinks there are, how events are delivered to them, and what they
// name as origin.
func TestSinksAreConfigured(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	for name, tt := range map[string]struct {
		events string
		env    map[string]string
		want   []string
	}{
		"default":      {"", nil, []string{"stream"}},
		"none":         {`{stream: ""}`, nil, nil},
		"all":          {`{otlp: true, webhooks: [{url: "https://a"}, {url: "https://b", events: [audit.enforcement.alert]}]}`, nil, []string{"stream", "otlp", "webhook_1", "webhook_2"}},
		"SDK disabled": {`{otlp: true}`, map[string]string{"OTEL_SDK_DISABLED": "true"}, []string{"stream"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Parse("test.yaml", []byte("redis: {url: \""+env.URL+"\"}\nevents: "+tt.events), config.Options{Hostname: "h"})
			if err != nil {
				t.Fatal(err)
			}
			set, err := Open(t.Context(), cfg, env.Client, func(n string) string { return tt.env[n] }, Origin(cfg, "v"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range set.Sinks {
				got = append(got, s.Name)
				far := s.Name != "stream"
				if s.Detached != far || (s.Deliveries > 0) != (s.Name != "stream" && s.Name != "otlp") {
					t.Errorf("%+v", s)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("sinks %q, want %q", got, tt.want)
			}
			if err := set.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	cfg, err := config.Parse("test.yaml", []byte("events: {service_name: guard, resource: {host.name: x}}"), config.Options{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	if o := Origin(cfg, "v"); o.Version != "v" || !reflect.DeepEqual(o.Resource, map[string]string{"service.name": "guard", "host.name": "x"}) {
		t.Errorf("origin %+v", o)
	}
}

// TestStreamSinkIsConfigured: events.stream and events.stream_max_len.
func TestStreamSinkIsConfigured(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	cfg, err := config.Parse("test.yaml", []byte("redis: {url: \""+env.URL+"\"}\nevents: {stream: '"+env.Prefix+":published', stream_max_len: 100}"), config.Options{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := Open(t.Context(), cfg, env.Client, os.Getenv, Origin(cfg, "v"))
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Sinks[0].Sink.Emit(t.Context(), slices.Repeat([]wire.Enforcement{{Type: wire.TypeAlert}}, 800)); err != nil {
		t.Fatal(err)
	}
	// The bound is approximate: Redis drops whole nodes of 100 entries.
	if n, err := env.Client.XLen(t.Context(), env.Prefix+":published").Result(); err != nil || n < 100 || n > 300 {
		t.Errorf("%d entries are kept: %v", n, err)
	}
}
