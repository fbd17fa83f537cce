package ingress

import (
	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/cli"
)

// markGlobal marks the flags that say which store to ask, and where that is written.
func markGlobal(flags *pflag.FlagSet) {
	cli.MarkGlobal(flags, append(storeFlags(), "config")...)
}
