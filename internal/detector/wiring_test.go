package detector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/testenv"
)

// TestConsumerIsConfigured: every key of stream, and shutdown.grace, reaches the consumer.
func TestConsumerIsConfigured(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("test.yaml", []byte(`
key_prefix: p
stream: {names: [a, b], group: g, consumer: c, loops: 3, batch_size: 7, block: 70ms, claim_min_idle: 700ms, max_deliveries: 9, retention: 77m, dead_max_len: 777, max_lag: 78s, overload: shed, shed_types: [a, b*]}
shutdown: {grace: 17s}
`), config.Options{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	d := &Detector{cfg: cfg, stores: &backends.Stores{}, now: time.Now, registry: prometheus.NewRegistry()}
	m := newPipelineMetrics(d.registry)
	o := d.consumerOptions(m)
	if !slices.Equal(o.Streams, []string{"a", "b"}) || o.Group != "g" || o.Consumer != "c" || o.Prefix != "p" {
		t.Errorf("streams %q, group %q, consumer %q, prefix %q", o.Streams, o.Group, o.Consumer, o.Prefix)
	}
	if o.Loops != 3 || o.BatchSize != 7 || o.MaxDeliveries != 9 || o.DeadMaxLen != 777 {
		t.Errorf("loops %d, batch size %d, deliveries %d, dead letters %d", o.Loops, o.BatchSize, o.MaxDeliveries, o.DeadMaxLen)
	}
	if o.Block != 70*time.Millisecond || o.ClaimMinIdle != 700*time.Millisecond || o.Retention != 77*time.Minute || o.Grace != 17*time.Second || o.MaxLag != 78*time.Second {
		t.Errorf("block %s, claim %s, retention %s, grace %s", o.Block, o.ClaimMinIdle, o.Retention, o.Grace)
	}
	if o.Shed.Count(3); !slices.Equal(o.Shed.Values, []string{"a", "b*"}) || testutil.ToFloat64(m.shed) != 3 {
		t.Errorf("sheds %q, counts %v", o.Shed.Values, testutil.ToFloat64(m.shed))
	}
}

// TestWorkerOnAReplicaIsNotReady: it can write nothing there, whether the replica has a primary or
// not.
func TestWorkerOnAReplicaIsNotReady(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	cfg, err := config.Parse("test.yaml", []byte("redis: {url: \""+env.URL+"\"}\nevents: {stdout: false, stream: ''}\nhttp: {addr: ''}\n"), config.Options{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx, t.Context()) }()
	testenv.Eventually(t, time.Minute, d.Ready)
	replicaOf := func(host, port string) {
		t.Helper()
		if err := env.Client.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
			t.Fatal(err)
		}
	}
	replicaOf("127.0.0.1", "1") // where no server listens
	testenv.Eventually(t, time.Minute, func() error {
		if err := d.Ready(); !errors.Is(err, errReplica) {
			return fmt.Errorf("on a replica: %w", err)
		}
		return nil
	})
	replicaOf("NO", "ONE")
	testenv.Eventually(t, time.Minute, d.Ready)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestHealth: a worker is ready once it has joined and until it stops, and alive as long as its
// loops begin steps.
func TestHealth(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	cfg, err := config.Parse("test.yaml", []byte("redis: {url: \""+env.URL+"\"}\nkey_prefix: "+env.Prefix+"\nstream: {names: ['"+env.Prefix+":e']}\nevents: {stdout: false, stream: ''}\nhttp: {addr: ''}\n"), config.Options{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(); !errors.Is(err, errNotYet) {
		t.Errorf("before it runs it is ready: %v", err)
	}
	if err := d.Alive(); err != nil {
		t.Errorf("before it runs it is not alive: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx, t.Context()) }()
	testenv.Eventually(t, time.Minute, d.Ready)
	if err := d.Alive(); err != nil {
		t.Errorf("at work it is not alive: %v", err)
	}
	late := &Detector{consumer: d.consumer, now: func() time.Time { return time.Now().Add(stuckAfter + time.Minute) }}
	if err := late.Alive(); !errors.Is(err, errStuck) {
		t.Errorf("stuck for three minutes it is alive: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := d.Ready(); !errors.Is(err, errStopping) {
		t.Errorf("stopped it is ready: %v", err)
	}
}
