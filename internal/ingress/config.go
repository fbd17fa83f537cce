package ingress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/spelling"
)

// maxConfig bounds the configuration file, in bytes.
const maxConfig = 1 << 20

// environment returns the variables that set flags, by flag.
func environment() map[string]string {
	return map[string]string{"redis-url": "WARDSTREAM_REDIS_URL", "postgres-url": "WARDSTREAM_POSTGRES_URL"}
}

// configure fills in what the command line left open: from the environment, then
// from the file, if one is named.
func configure(flags *pflag.FlagSet, file string, getenv func(string) string) error {
	given := map[string]bool{}
	flags.VisitAll(func(f *pflag.Flag) { given[f.Name] = f.Changed })
	for name, variable := range environment() {
		value := getenv(variable)
		if given[name] || value == "" {
			continue
		}
		if err := flags.Lookup(name).Value.Set(value); err != nil {
			return fmt.Errorf("%s: %w", variable, err)
		}
		given[name] = true
	}
	if file == "" {
		return nil
	}
	text, err := readConfig(file)
	if err != nil {
		return err
	}
	spare := DefaultOptions()
	c := configFile{name: file, flags: flags, spare: spare.flags(), given: given, getenv: getenv, seen: map[string]bool{}}
	return c.apply(text)
}

func readConfig(file string) ([]byte, error) {
	f, err := os.Open(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	if len(text) > maxConfig {
		return nil, fmt.Errorf("--config: %s is larger than %d bytes", file, maxConfig)
	}
	return text, nil
}

// A configFile sets flags from a YAML mapping of their names. Flags that were given
// otherwise stay, but what the file says of them must be right all the same.
type configFile struct {
	name   string
	flags  *pflag.FlagSet
	spare  *pflag.FlagSet // takes what is only to be looked at
	given  map[string]bool
	getenv func(string) string
	seen   map[string]bool
	wrong  mistakes
}

func (c *configFile) errorf(n ast.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", c.name, n.GetToken().Position.Line, fmt.Errorf(format, args...))
}

func (c *configFile) apply(text []byte) error {
	parsed, err := parse(text)
	if err != nil {
		return c.syntaxError(err)
	}
	if len(parsed.Docs) > 1 && parsed.Docs[1].Body != nil {
		return c.errorf(parsed.Docs[1].Body, "more than one YAML document")
	}
	if len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		return nil
	}
	body, ok := parsed.Docs[0].Body.(ast.MapNode)
	if !ok {
		return c.errorf(parsed.Docs[0].Body, "must be a mapping of option names to values")
	}
	for entries := body.MapRange(); entries.Next(); {
		if err := c.set(entries.Key(), entries.Value()); err != nil {
			c.wrong = append(c.wrong, err)
		}
	}
	return c.wrong.err()
}

var errNotYAML = errors.New("can't be parsed")

func parse(text []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil { // a fault of the parser, on a file no one would write
			err = errNotYAML
		}
	}()
	return parser.ParseBytes(bytes.TrimPrefix(text, []byte("\ufeff")), 0, parser.AllowDuplicateMapKey()) // they are found with their line
}

func (c *configFile) syntaxError(err error) error {
	var yamlErr yaml.Error
	if errors.As(err, &yamlErr) {
		return fmt.Errorf("%s:%d: %s", c.name, yamlErr.GetToken().Position.Line, yamlErr.GetMessage())
	}
	return fmt.Errorf("%s: not YAML: %w", c.name, err)
}

// set applies one entry. trusted_proxies and trusted-proxies are the same key.
func (c *configFile) set(key ast.MapKeyNode, value ast.Node) error {
	text := key.GetToken().Value
	name := strings.ReplaceAll(text, "_", "-")
	flag := c.flags.Lookup(name)
	if flag == nil {
		return c.errorf(key, "unknown key %q%s", text, spelling.Suggestion(text, c.keys()))
	}
	if c.seen[name] {
		return c.errorf(key, "key %q is there twice", text)
	}
	c.seen[name] = true
	texts, err := c.values(value, flag.Value.Type())
	if err != nil {
		return c.errorf(value, "%s: %w", text, err)
	}
	if c.given[name] {
		flag = c.spare.Lookup(name)
	}
	if list, ok := flag.Value.(pflag.SliceValue); ok && value.Type() == ast.SequenceType {
		err = list.Replace(texts)
	} else {
		err = flag.Value.Set(texts[0])
	}
	if err != nil {
		return c.errorf(value, "%s: %w", text, err)
	}
	return nil
}

// keys returns the keys that there are.
func (c *configFile) keys() []string {
	var names []string
	c.flags.VisitAll(func(f *pflag.Flag) { names = append(names, strings.ReplaceAll(f.Name, "-", "_")) })
	return names
}

// values returns the text of a scalar, or of each element of a list, fit for a
// flag of the type.
func (c *configFile) values(n ast.Node, typ string) ([]string, error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		text, err := c.scalar(n, typ)
		return []string{text}, err
	}
	switch typ {
	case "stringSlice", "patterns":
	case "intSlice":
		typ = "int" // of each element
	default:
		return nil, errors.New("must be one value, not a list")
	}
	texts := make([]string, 0, len(list.Values))
	for _, element := range list.Values {
		text, err := c.scalar(element, typ)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func (c *configFile) scalar(n ast.Node, typ string) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		if typ == "int" || typ == "bool" {
			return "", fmt.Errorf("must be %s, without quotes", map[string]string{"int": "a whole number", "bool": "true or false"}[typ])
		}
		return c.expand(n.Value)
	case *ast.LiteralNode:
		return c.expand(strings.TrimSpace(n.Value.Value))
	case *ast.IntegerNode:
		if typ == "int" {
			return n.GetToken().Value, nil
		}
	case *ast.BoolNode:
		if typ == "bool" {
			return n.GetToken().Value, nil
		}
	}
	switch typ {
	case "int":
		return "", errors.New("must be a whole number")
	case "bool":
		return "", errors.New("must be true or false")
	case "duration":
		return "", errors.New("must be a time with its unit, such as 50ms")
	default:
		return "", errors.New("must be text; put it in quotes")
	}
}

// reference is ${NAME}, ${NAME:-default}, or $$ for a $ of its own.
var reference = regexp.MustCompile(`\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^}]*))?\}`)

// expand replaces references to the environment by its values.
func (c *configFile) expand(text string) (string, error) {
	var err error
	text = reference.ReplaceAllStringFunc(text, func(m string) string {
		if m == "$$" {
			return "$"
		}
		parts := reference.FindStringSubmatch(m)
		value := c.getenv(parts[1])
		if value == "" && parts[2] != "" {
			return parts[3]
		}
		if value == "" && err == nil {
			err = fmt.Errorf("the environment has no %s; set it, or write ${%s:-default}", parts[1], parts[1])
		}
		return value
	})
	return text, err
}
