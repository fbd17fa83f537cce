// Package redisurl reads the URLs that say where Redis is: one server, Sentinels
// or a Redis Cluster. Detector, ingress-check and checker understand the same ones.
package redisurl

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	sentinelPort = "26379"
	clusterPort  = "6379"
)

var (
	errNoScheme  = errors.New("it must start with redis://, rediss://, valkey://, valkeys://, unix://, redis+sentinel:// or redis+cluster://")
	errSyntax    = errors.New("it is not a URL (reserved characters in a password must be percent-encoded)")
	errNoMaster  = errors.New("the path must name the Sentinel's master: …/master or …/master/0")
	errHost      = errors.New("a host is empty or wrong")
	errClusterDB = errors.New("a cluster has no databases")
)

// A redisURL is a URL taken apart by hand, since net/url takes one host only.
type redisURL struct {
	scheme string // redis, rediss or unix
	kind   string // "", sentinel or cluster
	user   string // user:password@, or empty
	hosts  string
	path   string // with its slash
	query  string
}

func splitURL(raw string) (redisURL, error) {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(raw), "://") // a file of a secret often ends in a newline
	if !ok {
		return redisURL{}, errNoScheme
	}
	var u redisURL
	u.scheme, u.kind, _ = strings.Cut(scheme, "+")
	switch u.scheme {
	case "valkey":
		u.scheme = "redis"
	case "valkeys":
		u.scheme = "rediss"
	}
	known := u.scheme == "redis" || u.scheme == "rediss" || u.scheme == "unix" && u.kind == ""
	if !known || u.kind != "" && u.kind != "sentinel" && u.kind != "cluster" {
		return redisURL{}, errNoScheme
	}
	rest, u.query, _ = strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		u.user, rest = rest[:at+1], rest[at+1:]
	}
	if strings.ContainsAny(u.user, "/#") && u.scheme != "unix" {
		return redisURL{}, errSyntax
	}
	u.hosts = rest
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		u.hosts, u.path = rest[:slash], rest[slash:]
	}
	return u, nil
}

// Redact returns a Redis URL without its login and its options, for logs. It
// takes everything up to the last @ for the login, so that no password slips
// through, however it is written.
func Redact(raw string) string {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(raw), "://")
	if !ok {
		return "(not shown)"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "xxxxx@" + rest[at+1:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	return scheme + "://" + rest
}

// Parse makes options of a URL. These are the forms:
//
//	redis://user:password@host:6379/0
//	rediss://…                        with TLS
//	unix://user:password@/path/to/socket?db=0
//	redis+sentinel://user:password@host1:26379,host2:26379/master/0
//	redis+cluster://user:password@host1:7000,host2:7000
//	rediss+sentinel://…, rediss+cluster://…
//	valkey://…, valkeys://…           the same as redis and rediss
//
// White space around the URL and around hosts doesn't count. An IPv6 address is written in
// brackets.
//
// Options of go-redis may follow as a query, such as ?pool_size=20 or, for a
// Sentinel that wants a login of its own, ?sentinel_username=…&sentinel_password=….
// go-redis reads all but the kind, the list of hosts, the master's name and the
// Sentinels' login. The error may hold pieces of the URL.
func Parse(raw string) (*redis.UniversalOptions, error) {
	u, err := splitURL(raw)
	if err != nil {
		return nil, err
	}
	o := &redis.UniversalOptions{}
	switch u.kind {
	case "sentinel":
		err = u.sentinel(o)
	case "cluster":
		err = u.cluster(o)
	}
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(u.single()); err != nil {
		return nil, errSyntax // the error would quote the password
	}
	parsed, err := redis.ParseURL(u.single())
	if err != nil {
		return nil, err
	}
	if len(o.Addrs) == 0 {
		o.Addrs = []string{parsed.Addr}
	} else if parsed.TLSConfig != nil {
		parsed.TLSConfig.ServerName = "" // each host has its own
	}
	copyOptions(o, parsed)
	return o, nil
}

// single is the URL with the first host only, as go-redis understands it.
func (u redisURL) single() string {
	host := u.hosts
	if u.kind != "" {
		host = "localhost"
	}
	s := u.scheme + "://" + u.user + host + u.path
	if u.query != "" {
		s += "?" + u.query
	}
	return s
}

func (u *redisURL) sentinel(o *redis.UniversalOptions) (err error) {
	if o.Addrs, err = splitHosts(u.hosts, sentinelPort); err != nil {
		return err
	}
	master, db, _ := strings.Cut(strings.TrimPrefix(u.path, "/"), "/")
	if o.MasterName, err = url.PathUnescape(master); err != nil || master == "" {
		return errNoMaster
	}
	u.path = "/" + db
	query, err := url.ParseQuery(u.query)
	if err != nil {
		return errSyntax
	}
	o.SentinelUsername, o.SentinelPassword = query.Get("sentinel_username"), query.Get("sentinel_password")
	query.Del("sentinel_username")
	query.Del("sentinel_password")
	u.query = query.Encode()
	return nil
}

func (u *redisURL) cluster(o *redis.UniversalOptions) (err error) {
	o.IsClusterMode = true
	if o.Addrs, err = splitHosts(u.hosts, clusterPort); err != nil {
		return err
	}
	if strings.Trim(u.path, "/0") != "" {
		return errClusterDB
	}
	u.path = ""
	return nil
}

func splitHosts(hosts, defaultPort string) ([]string, error) {
	addrs := strings.Split(hosts, ",")
	for i, addr := range addrs {
		addr = strings.TrimSpace(addr)
		host, port, err := net.SplitHostPort(addr)
		if err != nil { // no port
			port = defaultPort
			host, _, err = net.SplitHostPort(addr + ":" + port)
		}
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" {
			return nil, errHost
		}
		addrs[i] = net.JoinHostPort(host, port)
	}
	return addrs, nil
}

// copyOptions copies what a URL can say for every kind of client.
func copyOptions(o *redis.UniversalOptions, from *redis.Options) {
	o.Username, o.Password, o.DB = from.Username, from.Password, from.DB
	o.TLSConfig = from.TLSConfig
	o.PoolFIFO, o.PoolSize, o.PoolTimeout = from.PoolFIFO, from.PoolSize, from.PoolTimeout
	o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = from.MinIdleConns, from.MaxIdleConns, from.MaxActiveConns
	o.MaxConcurrentDials = from.MaxConcurrentDials
	o.PipelinePoolSize = from.PipelinePoolSize
	o.PipelineReadBufferSize, o.PipelineWriteBufferSize = from.PipelineReadBufferSize, from.PipelineWriteBufferSize
	o.ConnMaxIdleTime, o.ConnMaxLifetime = from.ConnMaxIdleTime, from.ConnMaxLifetime
	o.ConnMaxLifetimeJitter = from.ConnMaxLifetimeJitter
}

// UsesTLS reports whether a URL asks for TLS.
func UsesTLS(raw string) bool {
	raw = strings.TrimSpace(raw)
	return strings.HasPrefix(raw, "rediss") || strings.HasPrefix(raw, "valkeys")
}
