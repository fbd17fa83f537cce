//go:build !race

package redislookup

const raceEnabled = false
