//go:build race

package main

// raceFlag builds the programs under test as the tests themselves are built.
const raceFlag = "-race"
