// Package mutate breaks Wardstream on purpose, one guarantee at a time, and expects tests to fail:
// a guarantee that can be broken without a test failing is held by nothing. The mutations are in
// testdata, a file for each part, one entry for each; its tests run them (make mutate), and in
// their short form check that each still applies.
//
// They are a list, and not made by a tool, since most of a package's conditions are not promises,
// and what Wardstream promises is often in a Lua script, a TTL or the order of two calls, which
// tools don't mutate.
package mutate
