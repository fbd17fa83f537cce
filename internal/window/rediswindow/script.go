package rediswindow

import (
	_ "embed"

	"github.com/wardstream/wardstream/internal/redislua"
)

var (
	//go:embed scripts/compact.lua
	compactSource string
	//go:embed scripts/trim.lua
	trimSource string

	compactScript, trimScript = redislua.New(compactSource), redislua.New(trimSource)
)
