package consumer

import _ "embed"

// prelude is the start of scripts that look at streams and groups.
//
//go:embed scripts/prelude.lua
var prelude string
