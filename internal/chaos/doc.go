// Package chaos makes faults on purpose against real processes and compares what comes of it,
// exactly, with what must.
//
//	plan (seed, round) ──▶ publisher ── XADD, until it is acked ──▶ redis-server ◀── proxy ◀─┐
//	        │                   │                                   (AOF always)             ├─ detectors,
//	        │                   │                                     postgres ◀── proxy ◀───┘  three processes
//	        ▼                   ▼                                        │
//	     faults ─────────▶ oracle: what was published,                   │ read raw, by no code of Wardstream's
//	  do … undo            what is sure, what may be lost                ▼
//	                            └───────────────▶ compare ◀── windows, blocks, rows, dead letters, events
//
// A round publishes a part of a workload, has one fault or two while it is worked on, undoes them,
// waits until the group is at the end with nothing pending, and compares. State lives on from round
// to round: windows fill over several of them, operators unblock, workers come back under old names
// and new ones.
//
// A fault that loses nothing leaves no doubt: every window, block and dead letter is as the oracle
// says. A fault that makes Redis lose data makes what was published just before it uncertain, never
// what came after it, and counts of events may be lower by what is uncertain, never higher.
//
// For the fault that kills a primary of a Redis Cluster, one stands beside this world with two
// ingress-checks, which are asked all the time by a harness that knows who must be denied.
//
// Everything is drawn from the seed, and what was done is printed when a round fails; how the
// processes interleave is up to the machine.
//
//	make chaos                    200 rounds
//	make chaos ROUNDS=20 SEED=7
//	make chaos FAULTS=kill,redis  only faults whose names start like that
package chaos
