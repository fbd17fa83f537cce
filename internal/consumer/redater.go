package consumer

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/wardstream/wardstream/internal/redislua"
)

const (
	// redatePage is how many pending entries one call of the script looks at.
	redatePage = 1000

	// noEntry stands for the start of the pending list.
	noEntry = "-"
)

//go:embed scripts/redate.lua
var redateSource string

var redateScript = redislua.New(prelude + redateSource)

// A redater keeps a clock of Redis that was set back from delaying claims: it dates deliveries that
// are in the future to now.
type redater struct {
	*member
	after string // the entry up to which the pending list has been looked at
}

// redate looks at the next page of the pending list, or the first again.
func (r *redater) redate(ctx context.Context) error {
	next, err := redateScript.Run(ctx, r.clients.Ops, []string{r.stream}, r.group, r.after, redatePage).Text()
	if err != nil {
		return fmt.Errorf("date deliveries: %w", err)
	}
	r.after = next
	return nil
}
