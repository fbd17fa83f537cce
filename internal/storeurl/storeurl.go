package config

import (
	"errors"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/postgresurl"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

// A URL says where a store is, and may hold a password: whatever prints it gets
// the form of Redacted. string(u) is the URL itself.
type URL string

const masked = "xxxxx"

// Redacted returns the URL with its passwords masked.
func (u URL) Redacted() string {
	if u == "" {
		return ""
	}
	one, hosts := u.single()
	parsed, err := url.Parse(one)
	if err != nil || !wellFormed(parsed) {
		return masked
	}
	secret := false
	if _, has := parsed.User.Password(); has {
		parsed.User = url.UserPassword(parsed.User.Username(), masked)
		secret = true
	}
	query := parsed.Query()
	for name := range query {
		if secretParam(name) {
			query[name] = []string{masked}
			secret = true
		}
	}
	if !secret {
		return strings.TrimSpace(string(u))
	}
	parsed.RawQuery = query.Encode()
	text := parsed.String()
	if hosts != "" {
		text = strings.Replace(text, "@"+parsed.Host, "@"+hosts, 1)
	}
	if rest, ok := strings.CutPrefix(text, parsed.Scheme+":"); ok && !strings.HasPrefix(rest, "//") {
		return parsed.Scheme + "://" + rest // String leaves them out where there is no host
	}
	return text
}

// String returns Redacted.
func (u URL) String() string { return u.Redacted() }

// GoString returns Redacted, so that %#v keeps the secret as well.
func (u URL) GoString() string { return u.Redacted() }

// LogValue returns Redacted.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.Redacted()) }

// MarshalText returns Redacted, which is what JSON and YAML then hold.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.Redacted()), nil }

func secretParam(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"pass", "secret", "token", "key"}, func(word string) bool { return strings.Contains(name, word) })
}

var queryName = regexp.MustCompile(`^[a-z_]+$`)

// wellFormed reports whether nothing in u can be a piece of a password that was
// not percent-encoded: such pieces end up in the path, the query or the fragment.
func wellFormed(u *url.URL) bool {
	if u.Fragment != "" || u.Opaque != "" || u.Scheme == "" || strings.Contains(u.Path, "@") || strings.ContainsAny(u.RawQuery, "@;") {
		return false
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return false
	}
	for name := range query {
		if !queryName.MatchString(name) {
			return false
		}
	}
	return true
}

// parse returns the URL if it has one of the schemes and is well formed.
func (u URL) parse(schemes ...string) (*url.URL, bool) {
	one, _ := u.single()
	parsed, err := url.Parse(one)
	if err != nil || !slices.Contains(schemes, parsed.Scheme) || !wellFormed(parsed) {
		return nil, false
	}
	return parsed, true
}

// single is the URL with one host in place of a list of them, which net/url can't read, and the list; "" if there is none.
func (u URL) single() (one, hosts string) {
	text := strings.TrimSpace(string(u))
	scheme, rest, _ := strings.Cut(text, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	at := strings.LastIndexByte(authority, '@') + 1
	if hosts = authority[at:]; !strings.Contains(hosts, ",") {
		return text, ""
	}
	return scheme + "://" + authority[:at] + "hosts" + rest[end:], hosts
}

const postgresForm = "postgres://user:password@host:5432/database"

// checkPostgres refuses what the driver wouldn't take. The reasons never repeat
// the URL, nor what the driver says of it.
func (v *validator) checkPostgres() {
	if raw := v.c.Postgres.URL; raw != "" {
		u, ok := raw.parse("postgres", "postgresql")
		var wrong *postgresurl.ParameterError
		if _, err := postgresurl.Parse(string(raw)); errors.As(err, &wrong) { // its name is one that everybody knows
			v.Refuse("postgres.url", "%v", wrong)
		} else if !ok || strings.Contains(strings.Trim(u.Path, "/"), "/") {
			v.Refuse("postgres.url", "is no Postgres URL; write %s and percent-encode special characters of the password", postgresForm)
		} else if err != nil {
			v.Refuse("postgres.url", "has a host, a port or a parameter (such as sslmode) that can't be used; write %s", postgresForm)
		}
	} else if v.c.Blocks.TempBlocksInPostgres {
		v.Refuse("blocks.temp_blocks_in_postgres", "needs postgres.url; set it or leave this out")
	}
	if !tableName.MatchString(v.c.Postgres.Table) {
		v.Refuse("postgres.table", "%s is no table name; write table or schema.table, in letters, digits and _", strictconfig.Quote(v.c.Postgres.Table))
	}
}

var tableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}$`)
