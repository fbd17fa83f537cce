// Package strictconfig reads a configuration into a struct: YAML, environment variables and flags
// (flag over environment over file over default). It knows no setting. It is strict: what it can't
// make sense of is refused with the place, the key and what to do, and several mistakes are
// reported at once.
package strictconfig

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A Decoder fills a schema from the file, the environment and the flags. It goes on after an error,
// and remembers where each setting came from.
type Decoder struct {
	o       Options
	environ map[string]string
	// flags are the flags by key, settable the keys that flags and variables can set.
	flags    map[string]Flag
	settable map[string]bool
	// places says where the settings that were given stand, by key.
	places  map[string]place
	anchors map[string]ast.Node
	nodes   int // decoded so far
	errs    Errors
	refused map[string]bool // keys that errs are about
}

// Options are what a schema is filled from besides the text of the file, and what the file may look
// like.
type Options struct {
	File    string   // its name, for errors; "" if there is none
	Environ []string // as os.Environ returns it
	Flags   []Flag   // that the command line gives
	// Hostname is what ${HOSTNAME} reads where the environment has none; shells know it but seldom
	// export it.
	Hostname string
	// Variable returns the name of the environment variable that sets a key, "" if none does.
	Variable func(key string) string
	// FlagNotation reads the file as a command line is read: keys may have dashes for underscores,
	// a list may be one text with commas, and a block of text (| or >) loses the blanks around it.
	FlagNotation bool
}

// A Flag is a value given on the command line.
type Flag struct {
	Name  string // as typed, such as "--redis-url", for errors
	Key   string // the key that it sets, such as "redis.url"
	Value any    // a string, or a []string: the elements of a list
}

// A place is a line of the file, or a variable or a flag.
type place struct {
	source string
	line   int
}

// MaxErrors is how many errors are reported.
const MaxErrors = 20

// maxNodes bounds the work that aliases of aliases can make.
const maxNodes = 100_000

// New returns a Decoder for a schema, a pointer to a struct that holds the defaults. Its fields are
// the keys: the yaml tag names one, a range tag bounds numbers and durations ("0,1m..8760h" allows
// 0 besides), and a oneof tag lists what is allowed.
func New(o Options, schema any) *Decoder {
	d := &Decoder{
		o: o, environ: map[string]string{}, flags: map[string]Flag{}, settable: map[string]bool{}, places: map[string]place{},
		anchors: map[string]ast.Node{}, refused: map[string]bool{},
	}
	for _, entry := range o.Environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			d.environ[name] = value
		}
	}
	for _, f := range o.Flags {
		d.flags[f.Key] = f
	}
	for _, s := range Overridable(Setting{V: reflect.ValueOf(schema).Elem()}) {
		d.settable[s.Key] = true
	}
	return d
}

// Load fills the schema: from the text of the file, then the environment, then the flags. Err
// reports what is wrong.
func (d *Decoder) Load(schema any, text []byte) {
	v := reflect.ValueOf(schema).Elem()
	if root := d.ParseYAML(text); root != nil {
		d.Decode(root, Setting{V: v})
	}
	d.override(Setting{V: v})
}

// Given returns the keys that the file, the environment or a flag gives, the keys around them
// included.
func (d *Decoder) Given() map[string]bool {
	given := make(map[string]bool, len(d.places))
	for key := range d.places {
		given[key] = true
	}
	return given
}

// Failures returns how many errors there are so far.
func (d *Decoder) Failures() int { return len(d.errs) }

// Err returns an error of type [Errors], or nil if there is none. It has up to [MaxErrors] and the
// number of the rest.
func (d *Decoder) Err() error {
	if len(d.errs) == 0 {
		return nil
	}
	errs := d.errs.sorted()
	if more := len(errs) - MaxErrors; more > 0 {
		errs = append(errs[:MaxErrors], Error{Source: errs[MaxErrors].Source, Line: errs[MaxErrors].Line, Reason: fmt.Sprintf("%d more errors from here on", more)})
	}
	return errs
}

// fail reports an error at a line of the file.
func (d *Decoder) fail(line int, key, format string, args ...any) {
	d.errs = append(d.errs, Error{Source: d.o.File, Line: line, Key: key, Reason: fmt.Sprintf(format, args...)})
}

// Refuse reports an error about a setting, where it stands or else where the
// nearest setting around it does. One mistake is reported once: what is wrong
// already, or part of what is, is left at that.
func (d *Decoder) Refuse(key, format string, args ...any) {
	for whole := key; whole != ""; whole = around(whole) {
		if d.refused[whole] {
			return
		}
	}
	d.refused[key] = true
	at := d.placeOf(key)
	d.errs = append(d.errs, Error{Source: at.source, Line: at.line, Key: key, Reason: fmt.Sprintf(format, args...)})
}

// around is the setting that key is part of: rules[0] of rules[0].name, "" at
// the top.
func around(key string) string { return key[:max(strings.LastIndexAny(key, ".["), 0)] }

func (d *Decoder) placeOf(key string) place {
	for ; key != ""; key = around(key) {
		if at, ok := d.places[key]; ok {
			return at
		}
	}
	if d.o.File == "" {
		return place{source: "configuration"}
	}
	return place{source: d.o.File, line: 1}
}
