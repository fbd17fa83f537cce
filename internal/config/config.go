// Package config reads the detector's configuration: a YAML file, the
// environment and flags (flag over environment over file over default). It is
// strict: whatever it can't make sense of is refused with the place, the key
// and what to do, and a Config that it returns is ready for use.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/internal/wire"
)

// A Config is everything a detector is configured with. It is read-only, and
// safe to print: its String, its LogValue and its URLs leave passwords out.
//
// The yaml tags are the keys of the file. A range tag bounds numbers and
// durations ("0,1m..8760h" allows 0 besides), a oneof tag lists what is allowed.
type Config struct {
	// Mode is "enforce", or "observe" to turn every block into an alert.
	Mode string `yaml:"mode" oneof:"enforce|observe"`
	// KeyPrefix starts every Redis key.
	KeyPrefix string `yaml:"key_prefix"`

	Redis    Redis    `yaml:"redis"`
	Postgres Postgres `yaml:"postgres"`
	Stream   Stream   `yaml:"stream"`
	Limits   Limits   `yaml:"limits"`

	// IPv6Prefix is how many bits of an IPv6 address make one scope; 128: all.
	IPv6Prefix int `yaml:"ipv6_prefix" range:"32..128"`
	// IPv6Port says what the last group of an address such as 2001:db8::7:9985 is: "unknown", part
	// of the "address", or a "port".
	IPv6Port string `yaml:"ipv6_port" oneof:"unknown|address|port"`
	// Placeholders are texts that are neither the value of a scope nor an event_id, in place of
	// [event.DefaultPlaceholders].
	Placeholders []string `yaml:"placeholders"`
	// Scopes are the operator's scopes, besides ip, user, username, session and route.
	Scopes  []Scope `yaml:"scopes"`
	Windows Windows `yaml:"windows"`

	// Rules are the rules that run, as configured. RuleSet is what they make.
	Rules []Rule `yaml:"rules"`
	// Sigma are globs of Sigma rule files; empty until they are supported.
	Sigma []string `yaml:"sigma"`

	// Actions and BlockRules are by rule. Policy is what they make.
	Actions    map[string]Action        `yaml:"actions"`
	BlockRules map[string]time.Duration `yaml:"block_rules" range:"1s..8760h"`
	Blocks     Blocks                   `yaml:"blocks"`
	Escalate   Escalate                 `yaml:"escalate"`
	// Allowlist names what is never blocked: addresses, ranges, "user:1".
	Allowlist []string `yaml:"allowlist"`
	// TrustedProxies are the addresses and ranges of reverse proxies and load
	// balancers. No rule blocks them.
	TrustedProxies []string `yaml:"trusted_proxies"`

	Events   Events   `yaml:"events"`
	HTTP     HTTP     `yaml:"http"`
	Log      Log      `yaml:"log"`
	Shutdown Shutdown `yaml:"shutdown"`

	// RuleSet is the compiled rules.
	RuleSet *rules.Set `yaml:"-"`
	// Policy says what follows from matches.
	Policy *enforce.Policy `yaml:"-"`
	// Decoder says how entries are decoded.
	Decoder wire.DecoderOptions `yaml:"-"`
	// File is the file that was read, or "".
	File string `yaml:"-"`
	// Warnings are things that are allowed but worth a second look, one sentence each.
	Warnings []string `yaml:"-"`

	hostname string          // what names the consumer by default
	set      map[string]bool // keys that something says something of
}

// Redis says where the stream, the windows and the blocks are.
type Redis struct {
	URL URL      `yaml:"url"`
	TLS RedisTLS `yaml:"tls"`
}

// RedisTLS adds to a rediss:// URL what the URL can't say. Paths are of PEM files.
type RedisTLS struct {
	CAFile     string `yaml:"ca_file"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	ServerName string `yaml:"server_name"`
}

// Postgres says where permanent blocks are. Without a URL there is no
// permanent tier.
type Postgres struct {
	URL   URL    `yaml:"url"`
	Table string `yaml:"table"`
}

// Stream says what is read and how.
type Stream struct {
	Names []string `yaml:"names"`
	Group string   `yaml:"group"`
	// Consumer is this process's name in the group; the host's unless configured.
	Consumer string `yaml:"consumer"`
	// Loops is how many loops read each stream: while one waits for Redis another works.
	Loops     int `yaml:"loops" range:"1..64"`
	BatchSize int `yaml:"batch_size" range:"1..10000"`
	// Block is how long a read waits for entries.
	Block time.Duration `yaml:"block" range:"1ms..1s"`
	// ClaimMinIdle is how long an entry is pending before another consumer claims it.
	ClaimMinIdle  time.Duration `yaml:"claim_min_idle" range:"100ms..24h"`
	MaxDeliveries int           `yaml:"max_deliveries" range:"1..1000"`
	// Retention is how old entries become; 0 keeps them.
	Retention time.Duration `yaml:"retention" range:"0,1m..8760h"`
	// DeadMaxLen bounds each dead-letter stream, in entries.
	DeadMaxLen int `yaml:"dead_max_len" range:"1..10000000"`
	// EventTime is "entry" for the time of the entry ID, or "event" for the event's own.
	EventTime string `yaml:"event_time" oneof:"entry|event"`
	// MaxLag is the age at which an entry counts as late; 0: none does. Overload is what becomes
	// of late entries: "in_order" handles all, "shed" skips those of ShedTypes.
	MaxLag    time.Duration `yaml:"max_lag" range:"0,1s..168h"`
	Overload  string        `yaml:"overload" oneof:"in_order|shed"`
	ShedTypes []string      `yaml:"shed_types"`
}

// Limits bound what one entry may hold.
type Limits struct {
	EntryBytes  int `yaml:"entry_bytes" range:"1024..16777216"`
	Attributes  int `yaml:"attributes" range:"1..1024"`
	Depth       int `yaml:"depth" range:"1..64"`
	StringBytes int `yaml:"string_bytes" range:"64..1048576"`
}

// A Scope is one that the operator added. Its value is the first of Attributes
// that an event has.
type Scope struct {
	Name       string   `yaml:"name"`
	Attributes []string `yaml:"attributes"`
	// Block says whether it may be blocked; otherwise it is only counted.
	Block bool `yaml:"block"`
}

// Windows says how windows count.
type Windows struct {
	// Lateness is how late an entry may be handled and still be counted rightly.
	Lateness time.Duration `yaml:"lateness" range:"0s..24h"`
}

// An Action is what to do about the matches of one rule. Zero particulars are
// left to Blocks.
type Action struct {
	Action     string        `yaml:"action" oneof:"observe|alert|temp_block|persist_block|block"`
	Scopes     []string      `yaml:"scopes"`
	TTL        time.Duration `yaml:"ttl" range:"1s..8760h"`
	StatusCode int           `yaml:"status_code" range:"400..599"`
	Message    string        `yaml:"message"`
}

// Blocks says what blocks are like.
type Blocks struct {
	DefaultTTL time.Duration `yaml:"default_ttl" range:"1s..8760h"`
	// PermanentCacheTTL is how long the copy of a permanent block in Redis lasts unless refreshed.
	PermanentCacheTTL time.Duration `yaml:"permanent_cache_ttl" range:"10s..720h"`
	// BlockSeverity is from where the action block is permanent; -1: never.
	BlockSeverity int    `yaml:"block_severity" range:"-1..10"`
	StatusCode    int    `yaml:"status_code" range:"400..599"`
	Message       string `yaml:"message"`
	// Precedence is the order of scope types in which blocks answer.
	Precedence           []string `yaml:"precedence"`
	TempBlocksInPostgres bool     `yaml:"temp_blocks_in_postgres"`
	// DefaultAction is for matches that nothing else has an action for.
	DefaultAction string `yaml:"default_action" oneof:"observe|alert|temp_block|persist_block|block"`
}

// Escalate makes the blocks of repeat offenders longer. With a Factor of 1 and
// a PermanentAfter of 0 it is off.
type Escalate struct {
	Factor         float64       `yaml:"factor" range:"1..100"`
	MaxTTL         time.Duration `yaml:"max_ttl" range:"1s..8760h"`
	Memory         time.Duration `yaml:"memory" range:"1m..8760h"`
	PermanentAfter int           `yaml:"permanent_after" range:"0..100"`
	PermanentIP    bool          `yaml:"permanent_ip"`
}

// Events says where enforcement events go.
type Events struct {
	Stdout bool `yaml:"stdout"`
	// Stream is the Redis stream; "" is none.
	Stream       string `yaml:"stream"`
	StreamMaxLen int    `yaml:"stream_max_len" range:"100..100000000"`
	// OTLP sends them as log records where the OTEL_EXPORTER_OTLP_* variables say.
	OTLP     bool      `yaml:"otlp"`
	Webhooks []Webhook `yaml:"webhooks"`
	// ServiceName is the resource's service.name, Resource its other attributes.
	ServiceName string            `yaml:"service_name"`
	Resource    map[string]string `yaml:"resource"`
}

// A Webhook is a URL that enforcement events are posted to.
type Webhook struct {
	URL WebhookURL `yaml:"url"`
	// Secret signs the requests; "" leaves them unsigned.
	Secret Secret `yaml:"secret"`
	// Events are the types sent; one that ends in * stands for all that begin so. Empty: all.
	Events []string `yaml:"events"`
	// Timeout bounds one request.
	Timeout time.Duration `yaml:"timeout" range:"100ms..30s"`
}

// HTTP says where metrics and health are served; an Addr of "" is nowhere.
type HTTP struct {
	Addr string `yaml:"addr"`
}

// Log says what is logged to stderr, and how.
type Log struct {
	Level  string `yaml:"level" oneof:"debug|info|warn|error"`
	Format string `yaml:"format" oneof:"json|text"`
}

// Shutdown says how to stop.
type Shutdown struct {
	// Grace is how long the batch in flight may take after SIGTERM.
	Grace time.Duration `yaml:"grace" range:"1s..10m"`
}

// portUnknown is the default of ipv6_port.
const portUnknown = "unknown"

// IsSet reports whether the file, the environment or a flag says what key is: "http.addr", for one.
func (c *Config) IsSet(key string) bool { return c.set[key] }

// NamedByHost reports whether this process's name in the group is the host's, which others on the
// same host have, too.
func (c *Config) NamedByHost() bool { return c.Stream.Consumer == c.hostname }

// DefaultFile is read where no file is named, if it exists.
const DefaultFile = "detector.yaml"

// Locate returns the file to read: the one named, else [DefaultFile] if the
// working directory has it, else "".
func Locate(named string) string {
	if named != "" {
		return named
	}
	if _, err := os.Stat(DefaultFile); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return DefaultFile
}

// Options are what a Config is made of besides the file.
type Options struct {
	// Environ is the environment, as os.Environ returns it.
	Environ []string
	// Flags are what the command line says.
	Flags []strictconfig.Flag
	// Hostname names the consumer unless configured, and is what ${HOSTNAME} reads
	// where the environment has none. "" asks the system.
	Hostname string
}

// Load reads the file at path ("" for none), the environment and the flags. An
// error of type [strictconfig.Errors] lists everything that is wrong, one line each.
func Load(path string, o Options) (*Config, error) {
	if o.Hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("read host name: %w", err)
		}
		o.Hostname = name
	}
	if path == "" {
		return parse("", nil, o)
	}
	text, err := strictconfig.Read(path)
	if err != nil {
		return nil, err
	}
	return parse(path, text, o)
}

// Parse is Load of a file called name that holds text.
func Parse(name string, text []byte, o Options) (*Config, error) {
	return parse(name, text, o)
}

// parse makes a Config of the text of the file called path.
func parse(path string, text []byte, o Options) (*Config, error) {
	c := defaults(o.Hostname)
	d := newDecoder(path, o)
	d.Load(c, text)
	c.Warnings = d.Misspelt()
	(&validator{Decoder: d, c: c}).validate()
	if err := d.Err(); err != nil {
		return nil, err
	}
	c.File, c.hostname, c.set = path, o.Hostname, d.Given()
	return c, nil
}

func newDecoder(path string, o Options) *strictconfig.Decoder {
	return strictconfig.New(strictconfig.Options{
		File: path, Environ: o.Environ, Flags: o.Flags, Hostname: o.Hostname, Variable: strictconfig.Variable,
	}, &Config{})
}

// defaults returns what holds unless configured otherwise.
func defaults(hostname string) *Config {
	limits := wire.DefaultLimits()
	return &Config{
		Mode: "enforce", KeyPrefix: rediskey.DefaultPrefix,
		Redis:    Redis{URL: "redis://localhost:6379/0"},
		Postgres: Postgres{Table: "permanent_blocks"},
		Stream: Stream{
			Names: []string{"audit:events"}, Group: "detectors", Consumer: hostname,
			Loops: 4, BatchSize: consumer.DefaultBatchSize, Block: consumer.DefaultBlock, ClaimMinIdle: consumer.DefaultClaimMinIdle,
			MaxDeliveries: consumer.DefaultMaxDeliveries, DeadMaxLen: consumer.DefaultDeadMaxLen,
			Retention: 24 * time.Hour, EventTime: "entry",
			Overload: InOrder, ShedTypes: []string{"http.response.success", "http.response.redirect"},
		},
		Limits: Limits{
			EntryBytes: limits.EntryBytes, Attributes: limits.Attributes, Depth: limits.Depth, StringBytes: limits.StringBytes,
		},
		IPv6Prefix: 128, IPv6Port: portUnknown, Placeholders: event.DefaultPlaceholders(),
		Windows: Windows{Lateness: 5 * time.Minute},
		Blocks: Blocks{
			DefaultTTL: enforce.DefaultTTL, PermanentCacheTTL: time.Hour, BlockSeverity: 8,
			StatusCode: wire.DefaultStatus, Message: wire.DefaultMessage,
			Precedence: builtinBlockable(), DefaultAction: string(enforce.Observe),
		},
		Escalate: Escalate{Factor: 1, MaxTTL: 24 * time.Hour, Memory: 24 * time.Hour},
		Events:   Events{Stdout: true, Stream: "audit:enforcement", StreamMaxLen: 100_000, ServiceName: "wardstream"},
		HTTP:     HTTP{Addr: "127.0.0.1:9090"},
		Log:      Log{Level: "info", Format: "json"},
		Shutdown: Shutdown{Grace: 30 * time.Second},
	}
}
