package rediswindow

import _ "embed"

var (
	//go:embed compact.lua
	compactSource string
	//go:embed trim.lua
	trimSource string
)
