package rediswindow

import _ "embed"

//go:embed compact.lua
var compactSource string
