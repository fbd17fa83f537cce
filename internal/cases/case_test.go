package cases

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A testCase is one case of a file.
type testCase struct {
	Name string `yaml:"name"`
	// Source says in what kind of report the input was seen, such as "fail2ban: host name in the
	// log".
	Source string `yaml:"source"`
	// Config is the detector's configuration, without where Redis and Postgres are.
	Config yamlText `yaml:"config"`
	// Postgres gives the worker a permanent tier; without it permanent blocks are in Redis.
	Postgres bool    `yaml:"postgres"`
	Entries  []entry `yaml:"entries"`
	// Blocks are in force before the first request; "ip:203.0.113.9".
	Blocks  []string      `yaml:"blocks"`
	Ingress *ingressCase  `yaml:"ingress"`
	Want    *expectations `yaml:"want"`

	line int
}

// An entry is published Times times, the first At after the case's start and the others Every after
// one another.
type entry struct {
	Fields fields    `yaml:"fields"`
	Times  int       `yaml:"times"`
	At     *duration `yaml:"at"`
	Every  *duration `yaml:"every"`
}

// Expectations are what must hold once all entries are handled.
type expectations struct {
	// Blocked are all scopes that are blocked, no others. NotBlocked only reads well: it repeats
	// what follows from that.
	Blocked    []string `yaml:"blocked"`
	NotBlocked []string `yaml:"not_blocked"`
	// DeadLetters are all entries that were dead-lettered.
	DeadLetters []deadLetter `yaml:"dead_letters"`
	// Alerts are the rules that emitted one, each once an alert.
	Alerts []string `yaml:"alerts"`
	// Event is what the last entry decodes to.
	Event *decoded `yaml:"event"`
	// Metrics are series and their values, as /metrics writes them; a series that is not there is
	// 0.
	Metrics map[string]float64 `yaml:"metrics"`
	// Logs are parts of lines of the worker's log.
	Logs []string `yaml:"logs"`
	// Warnings are parts of warnings about the configuration, Refused of the error that refuses it.
	Warnings []string `yaml:"warnings"`
	Refused  string   `yaml:"refused"`
}

type deadLetter struct {
	Reason string `yaml:"reason"` // part of it
	Times  int    `yaml:"times"`
}

// decoded is what an entry decodes to, as far as the case says.
type decoded struct {
	Type       string            `yaml:"type"`
	Attributes map[string]string `yaml:"attributes"`
	Absent     []string          `yaml:"absent"`
	Scopes     []string          `yaml:"scopes"` // all of them
	Time       string            `yaml:"time"`   // RFC 3339, or "entry" for that of the entry
}

// An ingressCase has requests answered by an ingress-check that is started with Flags.
type ingressCase struct {
	Flags    []string  `yaml:"flags"`
	Requests []request `yaml:"requests"`
}

// A request is sent from Peer, 127.0.0.1 unless given; other peers are simulated by the PROXY
// protocol.
type request struct {
	Peer    string `yaml:"peer"`
	Method  string `yaml:"method"`
	Path    string `yaml:"path"`
	Headers fields `yaml:"headers"`
	Status  int    `yaml:"status"`
}

// A duration is written "90s".
type duration time.Duration

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (d *duration) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(text)
	*d = duration(parsed)
	return err
}

// yamlText is the text of a part of the file.
type yamlText string

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (y *yamlText) UnmarshalYAML(n ast.Node) error {
	*y = yamlText(n.String() + "\n")
	return nil
}

var errNotAList = errors.New("is not a list of cases")

// readCases reads a file strictly: errors name its line.
func readCases(path string) ([]*testCase, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(file.Docs) != 1 {
		return nil, fmt.Errorf("%s has %d documents: %w", path, len(file.Docs), errNotAList)
	}
	list, ok := file.Docs[0].Body.(*ast.SequenceNode)
	if !ok {
		return nil, fmt.Errorf("%s %w", path, errNotAList)
	}
	var out []*testCase
	for _, node := range list.Values {
		c := &testCase{line: node.GetToken().Position.Line}
		if err := yaml.NodeToValue(node, c, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, c.line, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// check refuses a case that shows nothing.
func (c *testCase) check() error {
	switch {
	case c.Name == "":
		return errors.New("the case has no name")
	case c.Source == "":
		return fmt.Errorf("%q has no source", c.Name)
	case c.Ingress != nil && len(c.Ingress.Requests) == 0:
		return fmt.Errorf("%q: ingress has no requests", c.Name)
	case c.Ingress == nil && c.Want == nil:
		return fmt.Errorf("%q wants nothing", c.Name)
	case c.Ingress == nil && len(c.Blocks) > 0:
		return fmt.Errorf("%q: blocks are for ingress", c.Name)
	case c.Want != nil && c.Want.Refused == "" && len(c.Want.Warnings) == 0 && len(c.Entries) == 0:
		return fmt.Errorf("%q has no entries", c.Name)
	}
	for _, e := range c.Entries {
		if len(e.Fields) == 0 {
			return fmt.Errorf("%q: an entry has no fields", c.Name)
		}
	}
	if c.Ingress != nil {
		for _, r := range c.Ingress.Requests {
			if r.Status == 0 {
				return fmt.Errorf("%q: a request has no status", c.Name)
			}
		}
	}
	return nil
}
