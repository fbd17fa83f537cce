package ingresscli

import (
	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/ingress"
)

// optionFlags returns the flags that set o. Keys of the configuration file are the same names, with
// underscores for dashes.
func optionFlags(o *ingress.Options) *pflag.FlagSet {
	f := pflag.NewFlagSet("ingress-check", pflag.ContinueOnError)
	f.StringVar(&o.Addr, "addr", o.Addr, "address to answer proxies on: host:port, or unix:/path")
	f.StringVar(&o.GRPCAddr, "grpc-addr", o.GRPCAddr, "address for Envoy's ext_authz over gRPC: host:port, or unix:/path (default none)")
	f.StringVar(&o.HTTPAddr, "http-addr", o.HTTPAddr, "address of its own for /healthz, /readyz and /metrics (default: on --addr)")
	f.StringVar(&o.SocketMode, "socket-mode", o.SocketMode, "mode of Unix sockets")
	f.IntVar(&o.MaxConnections, "max-connections", o.MaxConnections, "most connections of a listener; more have to wait")
	f.StringVar(&o.TLSCert, "tls-cert", o.TLSCert, "PEM file of the certificate for --addr and --grpc-addr; read again when it changes (default no TLS)")
	f.StringVar(&o.TLSKey, "tls-key", o.TLSKey, "PEM file of its key")
	f.StringVar(&o.TLSClientCA, "tls-client-ca", o.TLSClientCA, "PEM file of the authorities that must have signed the proxies' certificates (default none asked for)")
	f.StringVar(&o.RedisURL, "redis-url", o.RedisURL, "Redis with the blocks, redis:// or rediss:// (environment: WARDSTREAM_REDIS_URL)")
	f.StringVar(&o.RedisTLS.CAFile, "redis-ca-file", o.RedisTLS.CAFile, "PEM file of the authorities that may sign the certificate of a rediss:// server (default the system's)")
	f.StringVar(&o.RedisTLS.CertFile, "redis-cert-file", o.RedisTLS.CertFile, "PEM file of the certificate to show to Redis (default none)")
	f.StringVar(&o.RedisTLS.KeyFile, "redis-key-file", o.RedisTLS.KeyFile, "PEM file of its key")
	f.StringVar(&o.RedisTLS.ServerName, "redis-server-name", o.RedisTLS.ServerName, "name that Redis's certificate must have (default that of the host)")
	f.StringVar(&o.PostgresURL, "postgres-url", o.PostgresURL,
		"Postgres with the permanent blocks; alone, or with Redis for when its copy is missing (environment: WARDSTREAM_POSTGRES_URL)")
	f.StringVar(&o.PostgresTable, "postgres-table", o.PostgresTable, "table of the permanent blocks (default permanent_blocks)")
	f.StringVar(&o.KeyPrefix, "key-prefix", o.KeyPrefix, "key_prefix of the detectors (default wardstream)")
	f.BoolVar(&o.PermanentTier, "permanent-tier", o.PermanentTier, "the detectors use Postgres: fail while their copy in Redis is missing")
	f.BoolVar(&o.Mirror, "mirror", o.Mirror, "answer from a replica of the blocks in memory, kept current from Redis")
	f.StringSliceVar(&o.TrustedProxies, "trusted-proxies", o.TrustedProxies, "CIDR ranges of the proxies whose word about the client is believed, comma-separated (default none)")
	f.IntVar(&o.TrustedProxyCount, "trusted-proxy-count", o.TrustedProxyCount, "take the n-th address from the right (default: the rightmost that is not a trusted proxy)")
	f.StringVar(&o.ClientHeader, "client-header", o.ClientHeader, "the one header in which proxies name the client: Forwarded, or one that lists addresses")
	f.BoolVar(&o.TrustUnix, "trust-unix", o.TrustUnix, "every process that may open our Unix sockets is a trusted proxy")
	f.BoolVar(&o.ProxyProtocol, "proxy-protocol", o.ProxyProtocol, "connections begin with a PROXY protocol header; only trusted proxies are let in")
	f.StringVar(&o.UserHeader, "user-header", o.UserHeader, "header in which a trusted proxy names the user's id")
	f.StringVar(&o.UsernameHeader, "username-header", o.UsernameHeader, "header in which a trusted proxy names the user's name")
	f.StringVar(&o.SessionHeader, "session-header", o.SessionHeader, "header in which a trusted proxy names the session")
	f.Var(&o.FailClosedPaths, "fail-closed-paths", "regular expressions of paths to deny when the store fails, comma-separated or repeated (default none)")
	f.DurationVar(&o.Timeout, "timeout", o.Timeout, "longest wait for the store")
	f.IntVar(&o.IPv6Prefix, "ipv6-prefix", o.IPv6Prefix, "bits of an IPv6 address that make one client, as in the detectors' configuration")
	f.IntSliceVar(&o.IPv4Ranges, "ipv4-ranges", o.IPv4Ranges, "prefix lengths of the ranges that are looked up in addition to an IPv4 address; 0 means none")
	f.IntSliceVar(&o.IPv6Ranges, "ipv6-ranges", o.IPv6Ranges, "the same for IPv6")
	f.StringSliceVar(&o.Precedence, "precedence", o.Precedence, "scope types whose block answers first (default user,username,session,ip)")
	f.StringSliceVar(&o.Allowlist, "allowlist", o.Allowlist, "addresses, ranges and scopes (user:1) never to deny, comma-separated, in addition to the detectors' allowlist in Redis (default none)")
	f.IntVar(&o.StatusCode, "status-code", o.StatusCode, "status of denials whose block names none")
	f.StringVar(&o.Message, "message", o.Message, "message of denials whose block has none")
	f.BoolVar(&o.ReasonHeaders, "reason-headers", o.ReasonHeaders, "send the proxy the rule and type of scope; most proxies pass them on to the client")
	f.DurationVar(&o.Grace, "grace", o.Grace, "time for requests under way when stopping")
	f.BoolVar(&o.Publish, "publish", o.Publish, "publish requests that are let pass as audit.http.request.pre, for detection")
	f.StringSliceVar(&o.PublishStream, "publish-stream", o.PublishStream, "streams to publish to, as stream.names of the detectors, comma-separated")
	f.IntVar(&o.PublishBuffer, "publish-buffer", o.PublishBuffer, "requests that may wait to be published; further ones are dropped and counted")
	f.BoolVar(&o.EventsStdout, "events-stdout", o.EventsStdout, "write an enforcement event for each blocked scope and second to standard output")
	f.StringVar(&o.EventsStream, "events-stream", o.EventsStream, "add the same events to this Redis stream, such as audit:enforcement (default none)")
	f.StringVar(&o.LogFormat, "log-format", o.LogFormat, "json or text")
	return f
}

// storeFlags are the flags that ingress-check check has too.
func storeFlags() []string {
	return []string{"redis-url", "redis-ca-file", "redis-cert-file", "redis-key-file", "redis-server-name", "postgres-url", "postgres-table", "key-prefix", "permanent-tier", "ipv6-prefix", "ipv4-ranges", "ipv6-ranges", "precedence", "allowlist", "timeout"}
}

// markGlobal marks the flags that say which store to ask, and where that is written.
func markGlobal(flags *pflag.FlagSet) {
	cli.MarkGlobal(flags, append(storeFlags(), "config")...)
}
