package backends

import (
	"cmp"
	"strings"
)

// A Server is what INFO reports about a server.
type Server struct {
	Product string // Redis, Valkey, KeyDB, Dragonfly or Upstash
	Version string // the product's own
	Redis   string // the Redis that it is compatible with
	Mode    string // standalone, cluster or sentinel
}

// String names the product and its version.
func (s Server) String() string { return strings.TrimSpace(s.Product + " " + s.Version) }

// ReadServer reads what INFO says about the server.
func ReadServer(info string) Server {
	said := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			said[name] = value
		}
	}
	s := Server{Product: "Redis", Redis: said["redis_version"], Mode: cmp.Or(said["redis_mode"], said["server_mode"])}
	s.Version = s.Redis
	switch name := strings.ToLower(said["server_name"] + said["executable"]); {
	case said["valkey_version"] != "":
		s.Product, s.Version = "Valkey", said["valkey_version"]
	case said["dragonfly_version"] != "":
		s.Product, s.Version = "Dragonfly", strings.TrimPrefix(strings.TrimPrefix(said["dragonfly_version"], "df-"), "v")
	case said["upstash_version"] != "":
		s.Product, s.Version = "Upstash", said["upstash_version"]
	case strings.Contains(name, "keydb"):
		s.Product = "KeyDB"
	}
	return s
}
