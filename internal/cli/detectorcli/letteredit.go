package detectorcli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/deadletter"
)

// A letterEdit is the flags that say how the fields of a dead letter are changed.
type letterEdit struct{ set, unset []string }

func (c *letterEdit) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&c.set, "set", nil, "NAME=VALUE: the one value of a field, added or in place of what it was; may be repeated")
	cmd.Flags().StringArrayVar(&c.unset, "unset", nil, "NAME of a field to leave out; may be repeated")
}

var errOneLetter = errors.New("--set and --unset change one dead letter: name its ID")

// check returns the edit that is meant, nil if none is. ids is how many dead letters are named.
func (c *letterEdit) check(ids int) (*deadletter.Edit, error) {
	if len(c.set)+len(c.unset) == 0 {
		return nil, nil
	}
	if ids != 1 {
		return nil, errOneLetter
	}
	e := &deadletter.Edit{Unset: c.unset}
	for _, text := range c.set {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--set %q: write NAME=VALUE", cli.Clip(text))
		}
		e.Set = append(e.Set, [2]string{name, value})
	}
	return e, nil
}
