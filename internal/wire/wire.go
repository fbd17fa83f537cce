// Package wire is everything that leaves a process or enters it: stream
// entries, block values, enforcement events. Detector, ingress-check and
// checker agree because they share it.
package wire
