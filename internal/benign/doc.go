// Package benign runs a large innocent population, with a few attackers in it, through real
// detectors and compares every match and every block with an oracle that recounts each window from
// all events.
//
//	population (seed) ──▶ XADD ──▶ redis-server ◀──▶ detectors: 1 loop, 4 loops, two workers
//	      │                                             │
//	      ▼                                             ▼
//	    oracle: matches by rule, blocked addresses ══ the detectors' own
//
// The population is 5,000 addresses of one to three people each, an office of 300 people behind one
// address and one of 5,000. People mistype 3 % of their passwords and log in right afterwards; none
// of them may be blocked. The attackers fail just often enough, just too seldom, and between logins
// to accounts of their own; crawlers enumerate all the time, a little faster than is allowed. The
// offices log in within minutes, all at once.
//
// Events have stream IDs of a day that ends now, so that windows see them at their real distances
// however fast they are handled: as a backlog that is there when the detectors start, and live,
// published while they run. One process must find exactly the oracle's matches; two share windows,
// so that a batch of one may come before an earlier one of the other, and must find exactly its
// blocks.
//
//	make benign                    1,000,000 events, six runs
//	make benign EVENTS=100000
package benign
