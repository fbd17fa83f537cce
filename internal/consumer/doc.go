// Package consumer reads Redis Streams as one member of a consumer group: it reads, claims, acks,
// dead-letters and trims, and knows nothing of events. What an entry means is up to its [Handler].
//
// # The states of an entry
//
//	XADD ──▶ unread
//	           │ XREADGROUP >                        ┌──────── its consumer is gone or silent ────────┐
//	           │ reader.go, shedder.go               │                                                │
//	           ▼                     claimer.go      ▼                                                │
//	        ┌─ in flight ◀── XAUTOCLAIM ──────── pending in Redis ◀── process ended, reply lost ──┐   │
//	        │    ▲  ▲ └───── XREADGROUP 0 ───────────┘ ▲                                          │   │
//	        │    │  │        recoverer.go              │ backlog.go: more than fits in memory     │   │
//	        │    │  └ retryqueue.go ◀── Pending ───────┴───── heartbeater.go: XCLAIM JUSTID ──────┴───┘
//	        │    └── one by one ◀── Handle panicked
//	        ▼
//	      Handle (handler.go, decider.go)
//	           ├───▶ Done ── settler.go ───────────────────────────────▶ XACK ──▶ acked
//	           ├───▶ Dead ──────────────────────────────┐
//	           ├───▶ panics alone ── "panic: <class>" ──┤ deadletterer.go
//	           ├───▶ left Pending, without an error,    ├─▶ XADD {stream}:dead, XACK ──▶ dead letter
//	           │     max deliveries times ── "failed" ──┤                        │ requeue, internal/deadletter
//	           └───▶ ends the process: handled alone,   │                        ▼
//	                 behind a marker that the next      │                     XADD ──▶ unread
//	                 attempt finds (poison.go) ─────────┘
//	                 ── "killed the worker"
//
//	trimmed while pending (redeliverer.go), or before anyone read it (lagmonitor.go) ──▶ lost: counted, warned about
//
// The zero [Verdict] is Pending: an entry is acked only after Handle has said that its effects are
// there, and forgetting to say so costs a redelivery. Every step may happen twice. A failure of the
// infrastructure (an error from Handle, from Redis) leaves entries Pending and never counts against
// them: they stay with this consumer, which keeps them from being claimed by heartbeats, and are
// handled again with exponential backoff, while reading goes on until too many wait.
//
// # The files
//
// A [Consumer] (consumer.go, options.go, connect.go) runs one read loop or a few for each stream
// (readloop.go). A read loop does everything to entries, one step after the other, so that memory
// is bounded. Its roles share a member (member.go), and each has its own type:
//
//   - membership.go joins and leaves the group, lease.go reserves the consumer's name.
//   - reader.go reads new entries and shedder.go those that are late, in the order that turn.go keeps among
//     read loops and peers.go among processes. pace.go adapts to servers that do not block as asked.
//   - recoverer.go reads what is pending for this consumer, claimer.go what others left, and redeliverer.go
//     prepares both. fetcher.go sends the reads, of as many entries as pagesize.go says.
//   - processor.go takes a batch through decider.go (calls the handler), poison.go (handles candidates alone),
//     settler.go (acks) and deadletterer.go.
//   - inflight.go holds what is in memory, with what waits in retryqueue.go for as long as backoff.go says;
//     backlog.go counts what is not yet fetched; backpressure.go says when to take no more.
//   - heartbeater.go runs beside the read loop and keeps what is in flight from being claimed.
//
// Once a stream, maintainer.go does the housekeeping: lagmonitor.go and sampler.go measure,
// trimmer.go trims to the retention, janitor.go removes consumers that are gone, redater.go
// corrects deliveries in the future. metrics.go has the metrics, failures.go classifies errors,
// scripts.go is what scripts begin with.
//
// Redis 6.2 is enough, or Valkey; Redis Cluster and Sentinel work.
package consumer
