// Package postgresurl reads the URLs that say where Postgres is, and separates those that can never
// work from those that may. Detector and ingress-check take the same ones.
package postgresurl

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Form is what a URL looks like.
const Form = "postgres://user:password@host:5432/database"

// ErrSyntax is the error of what is not a URL. It repeats nothing of it.
var ErrSyntax = errors.New("not a Postgres URL; write " + Form + ", with special characters percent-encoded")

// A ParameterError says which parameter of a URL can't work, and what to write instead. It repeats
// no value.
type ParameterError struct {
	Name   string
	Advice string
}

func (e *ParameterError) Error() string {
	return fmt.Sprintf("has the parameter %s, which Postgres doesn't know; %s", e.Name, e.Advice)
}

// Parse reads a URL. White space around it, as files of secrets often end in, doesn't count. Errors
// are [ErrSyntax] or a [ParameterError].
func Parse(raw string) (*pgxpool.Config, error) {
	raw = strings.TrimSpace(raw)
	config, err := pgxpool.ParseConfig(raw)
	if err != nil {
		return nil, ErrSyntax // pgx's may quote the URL
	}
	if u, err := url.Parse(raw); err == nil {
		for name := range u.Query() {
			if advice, known := foreign[strings.ToLower(name)]; known {
				return nil, &ParameterError{name, advice}
			}
		}
	}
	return config, nil
}

const (
	leaveOut = "leave it out"
	pooling  = "write default_query_exec_mode=exec for a pooler that gives a connection for each transaction"
	tls      = "write sslmode=require, verify-ca or verify-full"
	path     = "write options=-csearch_path%3Dname"
)

// foreign are parameters that other drivers read, by their names in small letters. pgx passes them
// to the server, which refuses every connection over them.
var foreign = map[string]string{
	// Prisma
	"pgbouncer": pooling, "schema": path, "connection_limit": "write pool_max_conns", "pool_timeout": leaveOut, "sslaccept": tls,
	"sslidentity": "write sslcert and sslkey", "socket_timeout": leaveOut, "statement_cache_size": "write statement_cache_capacity",
	// JDBC
	"currentschema": path, "ssl": tls, "sslfactory": tls, "preparethreshold": pooling, "prepare_threshold": pooling,
	"targetservertype": "write target_session_attrs", "applicationname": "write application_name", "connecttimeout": "write connect_timeout",
	"logintimeout": "write connect_timeout", "sockettimeout": leaveOut, "tcpkeepalive": leaveOut, "rewritebatchedinserts": leaveOut,
	"stringtype": leaveOut, "loadbalancehosts": leaveOut, "reversewrappedinserts": leaveOut, "defaultrowfetchsize": leaveOut,
	// Python, Node, Npgsql, ActiveRecord
	"prepared_statements": pooling, "statement_cache_mode": pooling, "prepared_statement_cache_size": "write statement_cache_capacity",
	"uselibpqcompat": leaveOut, "async_fallback": leaveOut, "pool": "write pool_max_conns", "pool_size": "write pool_max_conns",
	"max_overflow": leaveOut, "pooling": leaveOut, "minpoolsize": "write pool_min_conns", "maxpoolsize": "write pool_max_conns",
	"max_connections": "write pool_max_conns", "encoding": "write client_encoding", "charset": "write client_encoding",
	"sslcompression": leaveOut, "supa": leaveOut, "workaround": leaveOut,
	// libpq, of which pgx has no use
	"gssencmode": leaveOut, "gsslib": leaveOut, "gssdelegation": leaveOut, "keepalives": leaveOut, "keepalives_idle": leaveOut,
	"keepalives_interval": leaveOut, "keepalives_count": leaveOut, "tcp_user_timeout": leaveOut, "requiressl": tls, "requirepeer": leaveOut,
	"sslcrl": leaveOut, "sslcrldir": leaveOut, "hostaddr": "write the address for the host", "fallback_application_name": "write application_name",
	"load_balance_hosts": leaveOut, "ssl_min_protocol_version": leaveOut, "ssl_max_protocol_version": leaveOut,
}

// quoted finds a parameter's name in what the server or a pooler says of it.
var quoted = regexp.MustCompile(`parameter:? "?([A-Za-z_.][A-Za-z0-9_.]*)"?`)

// Refused returns what to do about an error of connecting that no waiting will change, such as a
// parameter of the URL that the server doesn't know, and "" for any other. Setting is what the URL
// is called.
func Refused(err error, setting string) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return ""
	}
	switch {
	case strings.HasPrefix(pg.Code, "28"):
		return "correct user and password in " + setting
	case pg.Code == "3D000":
		return "correct the database in " + setting
	}
	var connecting *pgconn.ConnectError
	if !errors.As(err, &connecting) {
		return ""
	}
	parameter := "the parameter that it names"
	if found := quoted.FindStringSubmatch(pg.Message); found != nil {
		parameter = "the parameter " + found[1]
	}
	switch pg.Code {
	case "42704", "08P01", "55P02": // unknown to the server, or to a pooler before it, or not to be set by a client
		return "take " + parameter + " out of " + setting
	case "22023", "42501":
		return "correct " + parameter + " in " + setting
	}
	return ""
}
