// Package consumer reads Redis Streams as one member of a consumer group: it
// reads, claims, acks, dead-letters and trims, and knows nothing of events. What an entry
// means is its [Handler]'s affair.
//
// # The way of an entry
//
//	XADD ──▶ unread
//	           │ XREADGROUP >                        ┌──────── its consumer is gone or silent ────────┐
//	           ▼                                     ▼                                                │
//	        ┌─ in hand ◀── XAUTOCLAIM ────────── pending in Redis ◀── process ended, reply lost ──┐   │
//	        │    ▲  ▲ └─── XREADGROUP 0 (drain) ─────┘ ▲                                          │   │
//	        │    │  │                                  │ more than fits in memory                 │   │
//	        │    │  └── backoff ◀── Pending ───────────┴──────────────── heartbeat: XCLAIM JUSTID ┴───┘
//	        │    └── one by one ◀── Handle panicked
//	        ▼
//	      Handle ──▶ Done ──────────────────────────────────────────▶ XACK ──▶ acked
//	           ├───▶ Dead ──────────────────────────────┐
//	           ├───▶ panics alone ── "panic: <class>" ──┤
//	           ├───▶ left Pending, without an error,    ├─▶ XADD {stream}:dead, XACK ──▶ dead letter
//	           │     max deliveries times ── "failed" ──┤                        │ requeue
//	           └───▶ ends the process: handled alone,   │                        ▼
//	                 after a mark; the mark is found ───┘                     XADD ──▶ unread
//	                 ── "killed the worker"
//
//	trimmed while pending, or before anyone read it ──▶ lost: counted, warned about
//
// An entry is acked after Handle has said that its effects are there, never
// before; every step may happen twice. A failure of the infrastructure (an error from Handle, from
// Redis) leaves entries Pending and never counts against them: they stay with this
// consumer, which keeps them from being claimed by heartbeats, and are handled
// again with exponential backoff, while reading goes on until too many wait.
//
// # The parts
//
// One loop or a few per stream (loop.go) does everything to entries, one step after the
// other, so that memory is bounded: it reads (reader.go), claims (claimer.go),
// handles (batch.go), and keeps what waits (hand.go). Beside it one goroutine sends the heartbeats
// (heartbeat.go), and one does the housekeeping (maintenance.go): figures (sampler.go),
// retention (trimmer.go), consumers that are gone (janitor.go).
//
// Redis 6.2 is enough; Redis Cluster and Sentinel work. Valkey speaks the same protocol; it is untested.
package consumer
