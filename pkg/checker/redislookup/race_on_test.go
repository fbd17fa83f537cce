//go:build race

package redislookup

// raceEnabled: the race detector allocates, too.
const raceEnabled = true
