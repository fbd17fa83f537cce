// Package ingress is ingress-check: the checker as a server that proxies ask before they pass a
// request on.
package ingress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/wardstream/wardstream/internal/storeurl"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/publisher"
)

// Options configures ingress-check. Start from [DefaultOptions]. The yaml tag of a field is its key
// in the configuration file, and its flag with dashes for underscores.
type Options struct {
	Addr     string `yaml:"addr"`      // forward-auth listener: host:port, or unix:/path
	GRPCAddr string `yaml:"grpc_addr"` // listener of Envoy's ext_authz over gRPC, likewise; empty: none
	HTTPAddr string `yaml:"http_addr"` // listener of health and metrics, likewise; empty: they are on Addr

	SocketMode     string `yaml:"socket_mode"`     // of Unix sockets, octal
	MaxConnections int    `yaml:"max_connections"` // of each listener; more wait to be accepted
	// TLSCert and TLSKey are PEM files for Addr and GRPCAddr, read again when they change;
	// TLSClientCA, if given, is the authority of the certificates that proxies must then show.
	TLSCert     string `yaml:"tls_cert"`
	TLSKey      string `yaml:"tls_key"`
	TLSClientCA string `yaml:"tls_client_ca"`

	RedisURL string   `yaml:"redis_url"`
	RedisTLS RedisTLS `yaml:",inline"` // for a rediss URL

	PostgresURL   string `yaml:"postgres_url"`
	PostgresTable string `yaml:"postgres_table"`
	KeyPrefix     string `yaml:"key_prefix"`
	// PermanentTier says that detectors keep permanent blocks in Postgres, so
	// that without their copy in Redis, and without PostgresURL, a check fails.
	PermanentTier bool `yaml:"permanent_tier"`
	// Mirror answers from a replica of the blocks in memory, kept current from Redis.
	Mirror bool `yaml:"mirror"`

	TrustedProxies    []string `yaml:"trusted_proxies"` // CIDR ranges and addresses
	TrustedProxyCount int      `yaml:"trusted_proxy_count"`
	// ClientHeader is the one header in which proxies name the client.
	ClientHeader string `yaml:"client_header"`
	// TrustUnix says that every process that may open our Unix sockets is a trusted proxy.
	TrustUnix bool `yaml:"trust_unix"`
	// ProxyProtocol says that connections begin with a PROXY protocol header, which
	// only trusted proxies may send; other peers are disconnected then.
	ProxyProtocol bool `yaml:"proxy_protocol"`
	// Headers in which a trusted proxy says who the client is; empty: none.
	UserHeader     string `yaml:"user_header"`
	UsernameHeader string `yaml:"username_header"`
	SessionHeader  string `yaml:"session_header"`

	FailClosedPaths Patterns      `yaml:"fail_closed_paths"` // regular expressions
	Timeout         time.Duration `yaml:"timeout"`           // of a check
	IPv6Prefix      int           `yaml:"ipv6_prefix"`       // bits; 128: each address by itself
	IPv4Ranges      []int         `yaml:"ipv4_ranges"`       // prefix lengths of ranges that are looked up besides an address
	IPv6Ranges      []int         `yaml:"ipv6_ranges"`       // likewise
	Precedence      []string      `yaml:"precedence"`        // scope types that answer first
	Allowlist       []string      `yaml:"allowlist"`         // what is never denied, besides the detectors' own allowlist
	StatusCode      int           `yaml:"status_code"`       // of denials whose block has none
	Message         string        `yaml:"message"`           // likewise
	ReasonHeaders   bool          `yaml:"reason_headers"`    // send the proxy the rule and type of scope
	Grace           time.Duration `yaml:"grace"`             // for requests under way at a stop

	Publish       bool     `yaml:"publish"`        // publish the requests that are allowed
	PublishStream []string `yaml:"publish_stream"` // in these streams
	PublishBuffer int      `yaml:"publish_buffer"` // how many may wait
	EventsStdout  bool     `yaml:"events_stdout"`  // write denials and failed checks to Stdout
	EventsStream  string   `yaml:"events_stream"`  // and in this stream; empty: not
	Stdout        io.Writer
	LogFormat     string `yaml:"log_format" oneof:"json|text"`
}

// DefaultOptions returns the options of an ingress-check without configuration. It
// still needs a store.
func DefaultOptions() Options {
	return Options{
		Addr: "127.0.0.1:8080", SocketMode: "0660", MaxConnections: 4096, ClientHeader: checker.HeaderXForwardedFor, Timeout: checker.DefaultTimeout, IPv6Prefix: 128,
		IPv4Ranges: checker.DefaultRanges4(), IPv6Ranges: checker.DefaultRanges6(),
		StatusCode: checker.DefaultStatusCode, Message: checker.DefaultMessage,
		Grace: 10 * time.Second, LogFormat: "json",
		PublishStream: []string{publisher.DefaultStream}, PublishBuffer: 8192,
	}
}

// RedisTLS is a [redisurl.TLS] with the keys of the configuration file.
type RedisTLS struct {
	CAFile     string `yaml:"redis_ca_file"`
	CertFile   string `yaml:"redis_cert_file"`
	KeyFile    string `yaml:"redis_key_file"`
	ServerName string `yaml:"redis_server_name"`
}

var errNoStore = errors.New("no store given: set --redis-url or WARDSTREAM_REDIS_URL, or for Postgres alone --postgres-url")

var errMirror = errors.New("--mirror: needs --redis-url, whose blocks it mirrors")

// checkStore reports what is wrong with the options that say where blocks are
// and how to decide.
func (o *Options) checkStore() error {
	var m mistakes
	switch {
	case o.RedisURL == "" && o.PostgresURL == "":
		m = append(m, errNoStore)
	case o.RedisURL == "" && o.Mirror:
		m = append(m, errMirror)
	}
	if err := storeurl.CheckRedis(storeurl.URL(o.RedisURL)); o.RedisURL != "" && err != nil {
		m = append(m, fmt.Errorf("--redis-url: %w", err))
	}
	if err := storeurl.CheckPostgres(storeurl.URL(o.PostgresURL)); o.PostgresURL != "" && err != nil {
		m = append(m, fmt.Errorf("--postgres-url: %w", err))
	}
	m.when(o.Timeout <= 0, "--timeout %s: must be above 0", o.Timeout)
	m.when(o.IPv6Prefix < 0 || o.IPv6Prefix > 128, "--ipv6-prefix %d: must be 0 to 128", o.IPv6Prefix)
	m.when(o.StatusCode < http.StatusBadRequest || o.StatusCode > 599, "--status-code %d: must be 400 to 599, a denial", o.StatusCode)
	m.add(checkRanges("ipv4-ranges", o.IPv4Ranges, 31), checkRanges("ipv6-ranges", o.IPv6Ranges, 127))
	_, err := o.checkerOptions()
	m.add(err)
	return m.err()
}

// maxRanges is how many ranges of an address a checker looks up.
const maxRanges = 7

func checkRanges(flag string, lengths []int, longest int) error {
	if len(lengths) > maxRanges || slices.ContainsFunc(lengths, func(bits int) bool { return bits < 0 || bits > longest }) {
		return fmt.Errorf("--%s %v: must be at most %d prefix lengths of 1 to %d, or 0", flag, lengths, maxRanges, longest)
	}
	return nil
}

// Validate reports all that is wrong with the options of a server, each on a line of its own.
func (o *Options) Validate() error {
	var m mistakes
	m.add(o.checkStore(), o.checkTrust(), o.checkFeed())
	for _, header := range []struct{ flag, name string }{
		{"client-header", o.ClientHeader}, {"user-header", o.UserHeader}, {"username-header", o.UsernameHeader}, {"session-header", o.SessionHeader},
	} {
		m.when(header.name != "" && !httpguts.ValidHeaderFieldName(header.name), "--%s %q: no header has such a name", header.flag, header.name)
	}
	mode, err := strconv.ParseUint(o.SocketMode, 8, 32)
	m.when(err != nil || mode > 0o777, "--socket-mode %q: must be an octal mode such as 0660", o.SocketMode)
	m.when(o.MaxConnections <= 0, "--max-connections %d: must be above 0", o.MaxConnections)
	m.when((o.TLSCert == "") != (o.TLSKey == ""), "--tls-cert and --tls-key: give both or neither")
	m.when(o.TLSClientCA != "" && o.TLSCert == "", "--tls-client-ca: needs --tls-cert and --tls-key")
	return m.err()
}

// checkTrust reports options by which no peer could be believed, or no client checked.
func (o *Options) checkTrust() error {
	var m mistakes
	sockets, noneTrusted := isUnix(o.Addr) || isUnix(o.GRPCAddr), len(o.TrustedProxies) == 0 && !o.TrustUnix
	m.when(o.TrustedProxyCount > 0 && noneTrusted, "--trusted-proxy-count %d: needs --trusted-proxies, since no other peer is believed", o.TrustedProxyCount)
	m.when(sockets && !o.TrustUnix, "a Unix socket's peers have no address: with --trust-unix every process that may open it is believed, without it no client could be checked")
	m.when(o.TrustUnix && !sockets, "--trust-unix: needs a Unix socket, --addr unix:/path or --grpc-addr unix:/path")
	m.when(o.ProxyProtocol && noneTrusted, "--proxy-protocol: needs --trusted-proxies, since no other peer may send its header")
	if _, err := checker.ParseTrustedProxies(o.TrustedProxies, o.TrustedProxyCount); err != nil {
		m.add(fmt.Errorf("--trusted-proxies: %w", err))
	}
	return m.err()
}

// checkFeed reports what is wrong with the options that say where events go.
func (o *Options) checkFeed() error {
	var m mistakes
	m.when(o.Publish && o.RedisURL == "", "--publish: needs --redis-url, since requests are published there")
	m.when(o.Publish && len(o.PublishStream) == 0, "--publish-stream: names no stream")
	m.when(o.PublishBuffer <= 0, "--publish-buffer %d: must be above 0", o.PublishBuffer)
	m.when(o.EventsStream != "" && o.RedisURL == "", "--events-stream: needs --redis-url, since the stream is there")
	m.when(o.EventsStdout && o.Stdout == nil, "--events-stdout: there is no standard output")
	return m.err()
}

// checkerOptions translates the options for the checker.
func (o *Options) checkerOptions() ([]checker.Option, error) {
	opts := []checker.Option{
		checker.WithTimeout(o.Timeout), checker.WithIPv6Prefix(o.IPv6Prefix), checker.WithRanges(o.IPv4Ranges, o.IPv6Ranges),
		checker.WithPrecedence(o.Precedence...), checker.WithDenial(o.StatusCode, o.Message),
	}
	if len(o.Allowlist) > 0 {
		list, err := checker.ParseAllowlist(o.Allowlist)
		if err != nil {
			return nil, fmt.Errorf("--allowlist: %w", err)
		}
		opts = append(opts, checker.WithAllowlist(list))
	}
	for _, text := range o.FailClosedPaths {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("--fail-closed-paths %q: no regular expression: %w", text, err)
		}
		opts = append(opts, checker.WithFailClosed(pattern))
	}
	return opts, nil
}

// identity is a header that names the client, and the type of scope that its value is.
type identity struct{ header, scope string }

func (i identity) set(s *checker.Subject, value string) {
	switch i.scope {
	case checker.ScopeUser:
		s.User = value
	case checker.ScopeUsername:
		s.Username = value
	case checker.ScopeSession:
		s.Session = value
	}
}

func (o *Options) identities() []identity {
	var given []identity
	for _, id := range []identity{
		{o.UserHeader, checker.ScopeUser}, {o.UsernameHeader, checker.ScopeUsername}, {o.SessionHeader, checker.ScopeSession},
	} {
		if id.header != "" {
			id.header = textproto.CanonicalMIMEHeaderKey(id.header)
			given = append(given, id)
		}
	}
	return given
}
