// Package wire is everything that leaves a process or enters it: stream
// entries, block values, enforcement events. Detector, ingress-check and
// checker agree because they share it.
package wire

import "github.com/wardstream/wardstream/internal/rediskey"

type Keys = rediskey.Keys

const (
	DefaultPrefix = rediskey.DefaultPrefix
	CompleteField = rediskey.CompleteField
)

var (
	CheckPrefix = rediskey.CheckPrefix
	MemberField = rediskey.MemberField
	FieldScope  = rediskey.FieldScope
	Hashed      = rediskey.Hashed
)
