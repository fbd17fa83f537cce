// Package storeurl holds the URLs of Redis and Postgres to what both binaries accept, in the same
// words, and prints them without their passwords.
package storeurl

import (
	"errors"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/postgresurl"
	"github.com/wardstream/wardstream/internal/redisurl"
)

// A URL says where a store is, and may hold a password: whatever prints it gets
// the form of Redacted. string(u) is the URL itself.
type URL string

// Masked stands for what is not shown.
const Masked = "xxxxx"

// Redacted returns the URL with its passwords Masked.
func (u URL) Redacted() string {
	if u == "" {
		return ""
	}
	one, hosts := u.single()
	parsed, err := url.Parse(one)
	if err != nil || !wellFormed(parsed) {
		return Masked
	}
	secret := false
	if _, has := parsed.User.Password(); has {
		parsed.User = url.UserPassword(parsed.User.Username(), Masked)
		secret = true
	}
	query := parsed.Query()
	for name := range query {
		if secretParam(name) {
			query[name] = []string{Masked}
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

// single is the URL with one host in place of a list of them, which net/url can't read, and the
// list; "" if there is none.
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

var (
	errRedis = errors.New("is not a Redis URL; " + redisurl.Advice)

	errPostgres     = errors.New("is not a Postgres URL; write " + postgresurl.Form + " and percent-encode special characters of the password")
	errPostgresPart = errors.New("has a host, a port or a parameter (such as sslmode) that can't be used; write " + postgresurl.Form)
)

// CheckRedis returns what is wrong with a Redis URL, nil if nothing is. The error repeats nothing
// of the URL.
func CheckRedis(u URL) error {
	_, ok := u.parse("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
		"valkey", "valkeys", "valkey+sentinel", "valkeys+sentinel", "valkey+cluster", "valkeys+cluster")
	if _, err := redisurl.Parse(string(u)); !ok || err != nil {
		return errRedis
	}
	return nil
}

// CheckPostgres returns what is wrong with a Postgres URL, nil if nothing is. The error repeats
// nothing of the URL but the name of a parameter that another driver reads.
func CheckPostgres(u URL) error {
	parsed, ok := u.parse("postgres", "postgresql")
	var wrong *postgresurl.ParameterError
	_, err := postgresurl.Parse(string(u))
	switch {
	case errors.As(err, &wrong):
		return wrong
	case !ok || strings.Contains(strings.Trim(parsed.Path, "/"), "/"):
		return errPostgres
	case err != nil:
		return errPostgresPart
	}
	return nil
}
