// Package soak runs the real processes for a long time under a steady load and says whether
// anything grows, is lost, or is wrong.
//
//	actors (seed) ──▶ publisher ── XADD, RATE events/s ──▶ redis-server ◀──▶ 2 detectors ◀──▶ postgres
//	    │                                                       ▲
//	    │ who must be blocked, who never                        ├── ingress-check
//	    ▼                                                       └── ingress-check --mirror
//	 probes: denied at both, and when ─────────────────────────────▶ │
//	 checks: visitors let in, the blocked denied ──────────────────▶ ┘
//	 operator: detector unblock, now and then
//
// All come back: visitors, attackers and users are drawn from pools in turn, so that the number of
// keys comes to a standstill once each was there (some 4 minutes) and whatever still grows after
// that is a leak. A pool is large enough that an attacker's block has ended, and a visitor's window
// has emptied, before its turn comes again.
//
// At the end counts are compared exactly: what was published is read and acked, each attack was
// denied at both servers and published once, each crawler alerted of once, each garbled entry is a
// dead letter, no other client was denied. Growth is judged where the run is long enough for it:
// the medians of the third and the last quarter of the samples.
//
//	make soak                       one hour, 2,000 events/s
//	make soak DURATION=10m RATE=500
//	make soak JSON=true             one JSON object a line
package soak
