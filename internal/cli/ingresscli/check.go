package ingresscli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/ingress"
	"github.com/wardstream/wardstream/pkg/checker"
)

// checkTimeout is the default wait of ingress-check check, which has yet to connect.
const checkTimeout = 2 * time.Second

// A question is what ingress-check check is asked.
type question struct {
	ip, user, username, session string
	scopes                      []string
}

func (a app) checkCommand() *cobra.Command {
	defaults := ingress.DefaultOptions()
	defaults.Timeout = checkTimeout // what --help shows
	flags := optionFlags(&defaults)
	var q question
	var file string
	var output *cli.Format
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether a client is blocked: exit 0 if not, 1 if so, 2 if that can't be known",
		Args:  a.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := load(file, flags, a.Environ)
			if err != nil {
				return err
			}
			if !flags.Lookup("timeout").Changed {
				o.Timeout = checkTimeout // the file's is for requests
			}
			return a.check(cmd.Context(), o, q, *output)
		},
	}
	for _, name := range storeFlags() {
		cmd.Flags().AddFlag(flags.Lookup(name))
	}
	output = cli.OutputFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "YAML file of serve's options")
	f.StringVar(&q.ip, "ip", "", "address of the client")
	f.StringVar(&q.user, "user", "", "user id")
	f.StringVar(&q.username, "username", "", "user name")
	f.StringVar(&q.session, "session", "", "session id")
	f.StringArrayVar(&q.scopes, "scope", nil, "another scope, as type:value (may be repeated)")
	markGlobal(f)
	return cmd
}

var errNoQuestion = errors.New("nothing to check: give --ip, --user, --username, --session or --scope type:value")

// subject turns the flags into what to look up.
func (q *question) subject() (checker.Subject, error) {
	s := checker.Subject{User: q.user, Username: q.username, Session: q.session, Extra: map[string]string{}}
	if q.ip != "" {
		addr, ok := checker.ParseAddr(q.ip)
		if !ok {
			return s, fmt.Errorf("--ip %q: %s", q.ip, notAnAddress(q.ip))
		}
		s.IP = addr
	}
	for _, text := range q.scopes {
		typ, value, _ := strings.Cut(text, ":")
		scope, ok := checker.NewScope(strings.TrimSpace(typ), value)
		switch _, again := s.Extra[scope.Type]; {
		case !ok && isRange(value):
			return s, fmt.Errorf("--scope %q: %s", text, notAnAddress(value))
		case !ok:
			return s, fmt.Errorf("--scope %q: must be type:value, and an address for ip", text)
		case again:
			return s, fmt.Errorf("--scope %q: one value of a type at a time", text)
		case scope.Type == checker.ScopeRoute:
			return s, fmt.Errorf("--scope %q: routes are counted, never blocked", text)
		}
		s.Extra[scope.Type] = scope.Value
	}
	if !s.IP.IsValid() && strings.TrimSpace(s.User+s.Username+s.Session) == "" && len(s.Extra) == 0 {
		return s, errNoQuestion
	}
	return s, nil
}

// notAnAddress says what a text is that isn't the address of one client.
func notAnAddress(text string) string {
	if isRange(text) {
		first, _, _ := strings.Cut(strings.TrimSpace(text), "/")
		return "is a range, and check asks about one client; give an address in it, such as " + first + ", and blocks of the ranges around it count"
	}
	return "is not an address"
}

func isRange(text string) bool {
	_, err := netip.ParsePrefix(strings.TrimSpace(text))
	return err == nil
}

func (a app) check(ctx context.Context, o ingress.Options, q question, output cli.Format) error {
	subject, err := q.subject()
	if err != nil {
		return err
	}
	d, err := ingress.Check(ctx, o, subject)
	if err != nil {
		return err
	}
	if err := a.writeVerdict(d, output); err != nil {
		return err
	}
	if d.Blocked {
		return cli.ErrNegative
	}
	return nil
}
