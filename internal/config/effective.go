package config

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/wardstream/wardstream/internal/strictconfig"
)

// Effective returns the configuration as it is in effect, every key written
// out, as YAML that can be read again but for the passwords, which are masked.
func (c *Config) Effective() string {
	text, err := yaml.MarshalWithOptions(plain(reflect.ValueOf(c).Elem()), yaml.IndentSequence(true))
	if err != nil {
		return "# " + strictconfig.OneLine(err.Error()) + "\n"
	}
	return string(text)
}

// String returns [Config.Effective].
func (c *Config) String() string { return c.Effective() }

// LogValue returns what a log should say of the configuration at start.
func (c *Config) LogValue() slog.Value {
	names := make([]string, len(c.Rules))
	for i, r := range c.Rules {
		names[i] = r.Name
	}
	return slog.GroupValue(
		slog.String("file", c.File), slog.String("mode", c.Mode), slog.String("key_prefix", c.KeyPrefix),
		slog.Any("redis_url", c.Redis.URL), slog.Any("postgres_url", c.Postgres.URL),
		slog.String("streams", strings.Join(c.Stream.Names, " ")), slog.String("group", c.Stream.Group),
		slog.String("consumer", c.Stream.Consumer), slog.String("rules", strings.Join(names, " ")),
	)
}

// plain returns v as values that YAML has a form for, keys in the order of the
// structs. What has no value is nil.
func plain(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case Rule:
		return plainRule(&value)
	case interface{ Redacted() string }:
		return strictconfig.Escape(value.Redacted())
	case time.Duration:
		return strictconfig.FormatDuration(value)
	case string:
		return strictconfig.Escape(value)
	}
	switch v.Kind() {
	case reflect.Struct:
		var out yaml.MapSlice
		for _, f := range strictconfig.FieldsOf(v.Type()) {
			if inner := v.FieldByIndex(f.Index); !unset(inner, f.Tag) {
				out = append(out, yaml.MapItem{Key: f.Name, Value: plain(inner)})
			}
		}
		return out
	case reflect.Map:
		return plainMap(v)
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i))
		}
		return out
	default:
		return v.Interface()
	}
}

func plainRule(r *Rule) yaml.MapSlice {
	out := yaml.MapSlice{{Key: "name", Value: r.Name}}
	if r.Type != r.Name {
		out = append(out, yaml.MapItem{Key: "type", Value: r.Type})
	}
	for _, p := range r.Params() {
		if p.Value != nil {
			out = append(out, yaml.MapItem{Key: p.Key, Value: plain(reflect.ValueOf(p.Value))})
		}
	}
	return out
}

func plainMap(v reflect.Value) yaml.MapSlice {
	out := yaml.MapSlice{}
	names := make(map[string]reflect.Value, v.Len())
	for it := v.MapRange(); it.Next(); {
		names[fmt.Sprint(it.Key().Interface())] = it.Value()
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, yaml.MapItem{Key: name, Value: plain(names[name])})
	}
	return out
}

// unset reports whether v is zero and its range doesn't allow that: it stands
// for "not configured", as in an action.
func unset(v reflect.Value, tag reflect.StructTag) bool {
	if !v.IsZero() || !v.CanInt() && !v.CanFloat() {
		return false
	}
	return !strictconfig.InRange(v, tag)
}
