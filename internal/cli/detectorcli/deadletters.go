package detectorcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/deadletter"
	"github.com/wardstream/wardstream/internal/rediskey"
)

// maxNamedIDs is how many dead letters can be named at once.
const maxNamedIDs = 1000

// defaultLetters is how many dead letters are listed by default: each may be large.
const defaultLetters = 100

func (a app) deadLettersCommand() *cobra.Command {
	return a.Group("dead-letters", "List, requeue and purge entries that could not be handled",
		a.deadListCommand(), a.deadRequeueCommand(), a.deadPurgeCommand())
}

func (a app) deadListCommand() *cobra.Command {
	var stream string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest first",
		Long: `Lists dead letters of the configured streams, the oldest first: their IDs, why they could not be
handled, how often they were delivered, and what they hold.`,
		Example: "  detector dead-letters list\n  detector dead-letters list --stream audit:events --limit 0 --output json",
		Args:    a.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&stream, "stream", "", "only those of this stream (default: all configured streams)")
	f.IntVar(&limit, "limit", defaultLetters, "most to list of each stream; 0 is all")
	output := cli.OutputFlag(cmd)
	a.complete(cmd)
	a.completeFlag(cmd, "stream", streamNames)
	return a.configured(cmd, letterSettings(), func(ctx context.Context, cfg *config.Config, _ []string) error {
		if limit < 0 {
			return fmt.Errorf("--limit %d: must be 0 or more", limit)
		}
		streams, err := deadStreams(cfg, stream)
		if err != nil {
			return err
		}
		return withStores(ctx, cfg, listTimeout, func(ctx context.Context, s *backends.Stores) error {
			views, err := a.readLetters(ctx, s, streams, limit)
			if err != nil {
				return err
			}
			return a.Print(*output, views, func(w io.Writer) { a.writeLetters(w, views) })
		})
	})
}

var errStream = errors.New("is not one of the configured streams")

// deadStreams are the streams whose dead letters are meant.
func deadStreams(cfg *config.Config, named string) ([]string, error) {
	named = strings.TrimSuffix(named, rediskey.DeadSuffix)
	switch {
	case named == "":
		return cfg.Stream.Names, nil
	case !slices.Contains(cfg.Stream.Names, named):
		return nil, fmt.Errorf("--stream %q: %w (%s)", cli.Clip(named), errStream, strings.Join(cfg.Stream.Names, ", "))
	}
	return []string{named}, nil
}

// letterPage is how many dead letters are read at once.
const letterPage = 100

func (a app) readLetters(ctx context.Context, s *backends.Stores, streams []string, limit int) ([]letterView, error) {
	views := []letterView{}
	for _, stream := range streams {
		dead := deadletter.NewQueue(s.Clients.Ops, stream)
		n := 0
		err := eachLetter(ctx, dead, func(letters []deadletter.Letter) bool {
			for _, letter := range letters {
				if n++; limit > 0 && n > limit {
					a.Warn("%s has more than %d dead letters; --limit 0 lists all", stream, limit)
					return false
				}
				views = append(views, letterViewOf(stream, letter))
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return views, nil
}

// eachLetter calls do with all dead letters, page by page, the oldest first, until it returns
// false.
func eachLetter(ctx context.Context, dead *deadletter.Queue, do func([]deadletter.Letter) bool) error {
	after := ""
	for {
		page, err := dead.List(ctx, after, letterPage)
		if err != nil {
			return err
		}
		if len(page) == 0 || !do(page) {
			return nil
		}
		after = page[len(page)-1].ID
	}
}

// A letterView is a dead letter as it is printed.
type letterView struct {
	ID         string      `json:"id"`
	Stream     string      `json:"stream"`
	EntryID    string      `json:"entry_id"`
	Reason     string      `json:"reason"`
	Deliveries int         `json:"deliveries"`
	At         string      `json:"at,omitempty"`
	Fields     [][2]string `json:"fields"` // names and values, in order
}

func letterViewOf(stream string, l deadletter.Letter) letterView {
	v := letterView{
		ID: l.ID, Stream: stream, EntryID: l.EntryID, Reason: l.Reason, Deliveries: l.Deliveries, At: cli.Timestamp(l.At),
		Fields: make([][2]string, 0, len(l.Fields)/2),
	}
	for i := 0; i+1 < len(l.Fields); i += 2 {
		v.Fields = append(v.Fields, [2]string{l.Fields[i], l.Fields[i+1]})
	}
	return v
}

func (a app) writeLetters(w io.Writer, views []letterView) {
	if len(views) == 0 {
		_, _ = fmt.Fprintln(w, "no dead letters")
		return
	}
	rows := make([][]string, len(views))
	for i, v := range views {
		rows[i] = []string{v.ID, v.Stream, v.At, strconv.Itoa(v.Deliveries), v.Reason, v.fields()}
	}
	a.Table(w, []string{"ID", "STREAM", "AT", "DELIVERIES", "REASON", "FIELDS"}, rows, "FIELDS", "REASON", "STREAM")
}

// fields is the beginning of what the entry holds.
func (v letterView) fields() string {
	var b strings.Builder
	for _, f := range v.Fields {
		if b.Len() > cli.MaxCell {
			break
		}
		fmt.Fprintf(&b, "%s=%s ", cli.Clip(f[0]), cli.Clip(f[1]))
	}
	return strings.TrimSpace(b.String())
}

// A selection says which dead letters are meant.
type selection struct {
	stream    string
	all, yes  bool
	olderThan duration
	ids       []string
}

func (s *selection) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.stream, "stream", "", "the stream they come from (needed if several are configured)")
	cmd.Flags().BoolVar(&s.all, "all", false, "all of them; needs --yes")
	cmd.Flags().BoolVar(&s.yes, "yes", false, "yes, all of them")
}

var (
	errAll    = errors.New("--all means every dead letter of the stream; add --yes")
	errSelect = errors.New("name dead letters by their IDs, or all by --all")
	errWhich  = errors.New("several streams are configured: say which by --stream")
	letterID  = regexp.MustCompile(`^[0-9]{1,20}-[0-9]{1,20}$`)
)

// check returns the stream that is meant. aged says that --older-than was given.
func (s *selection) check(cfg *config.Config, ids []string, aged bool) (string, error) {
	s.ids = ids
	ways := 0
	for _, way := range []bool{len(ids) > 0, s.all, aged} {
		if way {
			ways++
		}
	}
	switch {
	case ways != 1:
		return "", errSelect
	case s.all && !s.yes:
		return "", errAll
	}
	for _, id := range ids {
		if !letterID.MatchString(id) {
			return "", fmt.Errorf("%q: is not the ID of a dead letter; detector dead-letters list shows them", cli.Clip(id))
		}
	}
	if len(ids) > maxNamedIDs {
		return "", fmt.Errorf("%d IDs: name up to %d at once", len(ids), maxNamedIDs)
	}
	streams, err := deadStreams(cfg, s.stream)
	if err == nil && len(streams) != 1 {
		err = errWhich
	}
	if err != nil {
		return "", err
	}
	return streams[0], nil
}

func (a app) deadRequeueCommand() *cobra.Command {
	var chosen selection
	var fix letterEdit
	cmd := &cobra.Command{
		Use:   "requeue ID…",
		Short: "Put dead letters back into their stream",
		Long: `Puts dead letters back into their stream to be handled again: as they were, or one of them with fields
changed by --set and --unset. An entry that has no event_id gets its old ID for one, so that windows
count it once, however often it is requeued. The exit code is 1 if one that was named isn't there.`,
		Example: "  detector dead-letters requeue 1714070000000-0\n  detector dead-letters requeue --all --yes\n" +
			"  detector dead-letters requeue 1714070000000-0 --set event_type=auth.login.failed --unset debug",
	}
	chosen.flags(cmd)
	fix.flags(cmd)
	output := cli.OutputFlag(cmd)
	a.complete(cmd)
	a.completeFlag(cmd, "stream", streamNames)
	return a.configured(cmd, letterSettings(), func(ctx context.Context, cfg *config.Config, args []string) error {
		stream, err := chosen.check(cfg, args, false)
		if err != nil {
			return err
		}
		edit, err := fix.check(len(args))
		if err != nil {
			return err
		}
		return withStores(ctx, cfg, listTimeout, func(ctx context.Context, s *backends.Stores) error {
			dead := deadletter.NewQueue(s.Clients.Ops, stream)
			n, err := requeue(ctx, dead, &chosen, edit)
			if err != nil {
				return fmt.Errorf("%w (%d are requeued)", err, n)
			}
			return a.printCount(*output, "requeued", int64(n), len(chosen.ids))
		})
	})
}

func requeue(ctx context.Context, dead *deadletter.Queue, chosen *selection, edit *deadletter.Edit) (int, error) {
	switch {
	case chosen.all:
		return dead.RequeueAll(ctx)
	case edit != nil:
		return dead.RequeueEdited(ctx, chosen.ids[0], *edit)
	}
	return dead.Requeue(ctx, chosen.ids...)
}

func (a app) deadPurgeCommand() *cobra.Command {
	var chosen selection
	cmd := &cobra.Command{
		Use:   "purge ID…",
		Short: "Delete dead letters",
		Long: `Deletes dead letters for good: by ID, those that are older than a duration, or, with --yes, all of a
stream. The exit code is 1 if one that was named isn't there.`,
		Example: "  detector dead-letters purge 1714070000000-0\n  detector dead-letters purge --older-than 7d\n  detector dead-letters purge --all --yes",
	}
	chosen.flags(cmd)
	f := cmd.Flags()
	f.Var(&chosen.olderThan, "older-than", "those that became dead letters longer ago than this, such as 7d")
	output := cli.OutputFlag(cmd)
	a.complete(cmd)
	a.completeFlag(cmd, "stream", streamNames)
	return a.configured(cmd, letterSettings(), func(ctx context.Context, cfg *config.Config, args []string) error {
		stream, err := chosen.check(cfg, args, f.Changed("older-than"))
		switch {
		case err != nil:
			return err
		case f.Changed("older-than") && chosen.olderThan < 0:
			return errors.New("--older-than: must not be negative")
		}
		return withStores(ctx, cfg, listTimeout, func(ctx context.Context, s *backends.Stores) error {
			n, err := chosen.purge(ctx, s, stream)
			if err != nil {
				return fmt.Errorf("%w (%d are purged)", err, n)
			}
			return a.printCount(*output, "purged", n, len(chosen.ids))
		})
	})
}

func (s *selection) purge(ctx context.Context, stores *backends.Stores, stream string) (int64, error) {
	dead := deadletter.NewQueue(stores.Clients.Ops, stream)
	switch {
	case s.all:
		return dead.PurgeAll(ctx)
	case len(s.ids) > 0:
		return dead.Purge(ctx, s.ids...)
	}
	now, err := stores.Clients.Ops.Time(ctx).Result() // by the clock that made the IDs
	if err != nil {
		return 0, fmt.Errorf("ask Redis for the time: %w", err)
	}
	return purgeBefore(ctx, dead, now.Add(-time.Duration(s.olderThan)))
}

// purgeBefore deletes the dead letters that became so before a time.
func purgeBefore(ctx context.Context, dead *deadletter.Queue, before time.Time) (int64, error) {
	var total int64
	var purgeErr error
	err := eachLetter(ctx, dead, func(letters []deadletter.Letter) bool {
		var old []string
		for _, l := range letters {
			if diedAt(l).Before(before) {
				old = append(old, l.ID)
			}
		}
		n, err := dead.Purge(ctx, old...)
		total, purgeErr = total+n, err
		return err == nil && len(old) == len(letters)
	})
	return total, errors.Join(err, purgeErr)
}

// diedAt is the time of a dead letter's ID.
func diedAt(l deadletter.Letter) time.Time {
	digits, _, _ := strings.Cut(l.ID, "-")
	ms, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return time.Unix(1<<40, 0) // of no time we know: it stays
	}
	return time.UnixMilli(ms)
}

// printCount says how many of those that were named (0: of all) were there.
func (a app) printCount(f cli.Format, done string, n int64, named int) error {
	err := a.Print(f, map[string]int64{done: n}, func(w io.Writer) {
		of := ""
		if named > 0 {
			of = fmt.Sprintf(" of %d", named)
		}
		_, _ = fmt.Fprintf(w, "%s %d%s\n", done, n, of)
	})
	if err == nil && n < int64(named) {
		return cli.ErrNegative
	}
	return err
}
