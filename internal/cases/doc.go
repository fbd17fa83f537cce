// Package cases runs the cases of testdata/cases: inputs that real systems produce and what
// Wardstream must make of them, written as data.
//
//	testdata/cases/*.yaml ──▶ entries ── XADD ──▶ Redis ◀── worker, in this process, as configured ──▶ Postgres
//	                                                │
//	                          requests ──▶ ingress-check, in this process
//	                                                │
//	                                     compare with what the case wants
//
// Everything between an entry and an answer is the real thing: a Redis and, where a case asks for
// it, a Postgres, the consumer, the rules, the stores and the HTTP server. testdata/cases/README.md
// says how to add a case.
package cases
