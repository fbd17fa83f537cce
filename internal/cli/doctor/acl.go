package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/rediskey"
)

const aclCheck = "redis access"

// A need is a command that the worker sends, on one kind of key. Sent as it stands it does
// nothing: it asks about a key that isn't there, or has an argument that Redis refuses after it has
// looked at what the user may do.
type need struct {
	name string // as ACL rules call it
	args []any
	on   string // the kind of key, as its pattern; "" is none
}

// needs are all commands of the worker.
func needs(cfg *config.Config) []need {
	var all []need
	for _, stream := range cfg.Stream.Names {
		all = append(all, streamNeeds(stream, cfg.Stream.Group)...)
	}
	if cfg.Events.Stream != "" {
		all = append(all, on(cfg.Events.Stream, "xadd", "XADD", cfg.Events.Stream, "x", "f", "v"))
	}
	all = append(append(all, keyNeeds(cfg.KeyPrefix)...), generalNeeds()...)
	if strings.Contains(string(cfg.Redis.URL), "+cluster:") {
		all = append(all, on("", "cluster|slots", "CLUSTER", "SLOTS"))
	}
	return all
}

func on(pattern, name string, args ...any) need { return need{name: name, args: args, on: pattern} }

func streamNeeds(stream, group string) []need {
	consumer := "doctor-" + rand.Text()
	dead := rediskey.DeadLetters(stream)
	return []need{
		on(stream, "xreadgroup", "XREADGROUP", "GROUP", group, consumer, "COUNT", "x", "STREAMS", stream, ">"),
		on(stream, "xautoclaim", "XAUTOCLAIM", stream, group, consumer, "x", "0"),
		on(stream, "xclaim", "XCLAIM", stream, group, consumer, "x", "0-1"),
		on(stream, "xack", "XACK", stream, group, "x"),
		on(stream, "xpending", "XPENDING", stream, group),
		on(stream, "xgroup|create", "XGROUP", "CREATE", stream, group, "x"),
		on(stream, "xgroup|delconsumer", "XGROUP", "DELCONSUMER", stream, group, consumer),
		on(stream, "xgroup|setid", "XGROUP", "SETID", stream, group, "x"),
		on(stream, "xinfo|stream", "XINFO", "STREAM", stream),
		on(stream, "xinfo|groups", "XINFO", "GROUPS", stream),
		on(stream, "xinfo|consumers", "XINFO", "CONSUMERS", stream, group),
		on(stream, "xrange", "XRANGE", stream, "x", "x"),
		on(stream, "xtrim", "XTRIM", stream, "MAXLEN", "x"),
		on(stream, "exists", "EXISTS", stream),
		on(dead, "xadd", "XADD", dead, "x", "f", "v"),
	}
}

func keyNeeds(prefix string) []need {
	key, pattern := rediskey.Keys{Prefix: prefix}.Doctor(rand.Text()), prefix+":*"
	return []need{
		on(pattern, "get", "GET", key),
		on(pattern, "set", "SET", key, "v", "x"),
		on(pattern, "getex", "GETEX", key),
		on(pattern, "getrange", "GETRANGE", key, "0", "0"),
		on(pattern, "exists", "EXISTS", key),
		on(pattern, "pttl", "PTTL", key),
		on(pattern, "pexpire", "PEXPIRE", key, "1"),
		on(pattern, "del", "DEL", key),
		on(pattern, "unlink", "UNLINK", key),
		on(pattern, "rename", "RENAME", key, key),
		on(pattern, "hget", "HGET", key, "f"),
		on(pattern, "hmget", "HMGET", key, "f"),
		on(pattern, "hset", "HSET", key, "f", "v", "x"),
		on(pattern, "hdel", "HDEL", key, "f"),
		on(pattern, "hlen", "HLEN", key),
		on(pattern, "hexists", "HEXISTS", key, "f"),
		on(pattern, "xadd", "XADD", key, "x", "f", "v"),
		on(pattern, "append", "APPEND", key, "v"),
		on(pattern, "zadd", "ZADD", key, "x", "m"),
		on(pattern, "zmscore", "ZMSCORE", key, "m"),
		on(pattern, "zcard", "ZCARD", key),
		on(pattern, "zrange", "ZRANGE", key, "0", "0"),
		on(pattern, "zremrangebyscore", "ZREMRANGEBYSCORE", key, "x", "x"),
		on(pattern, "zremrangebyrank", "ZREMRANGEBYRANK", key, "x", "x"),
	}
}

func generalNeeds() []need {
	return []need{
		on("", "eval", "EVAL", "return 1", "0"),
		on("", "evalsha", "EVALSHA", strings.Repeat("0", 40), "0"),
		on("", "script|load", "SCRIPT", "LOAD", "return 1"),
		on("", "multi", "MULTI"),
		on("", "exec", "EXEC"),
		on("", "time", "TIME"),
		on("", "info", "INFO", "server"),
		on("", "scan", "SCAN", "0"),
		on("", "client|setname", "CLIENT", "SETNAME", "wardstream-detector"),
	}
}

// acl asks for everything that the worker does whether the user may.
func (x *examination) acl(ctx context.Context) bool {
	client := x.stores.Clients.Ops
	user, err := client.Do(ctx, "ACL", "WHOAMI").Text()
	if err != nil {
		user = ""
	}
	all := needs(x.cfg)
	may := x.prober(ctx, user)
	var denied []need
	for _, n := range all {
		allowed, err := may(ctx, n)
		if err != nil {
			x.add(aclCheck, Warn, "run detector check again", "what the user may do can't be asked: %v", err)
			return true
		}
		if !allowed {
			denied = append(denied, n)
		}
	}
	if user == "" {
		user = userOf(string(x.cfg.Redis.URL))
	}
	if len(denied) > 0 {
		x.add(aclCheck, Fail, x.grant(user), "the user %s may not %s", user, listed(denied))
		return true
	}
	x.ok(aclCheck, "the user %s may do all that the worker does", user)
	return true
}

// userOf is the user that a Redis URL names.
func userOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	login, _, given := strings.Cut(rest, "@")
	if name, _, _ := strings.Cut(login, ":"); given && name != "" {
		return name
	}
	return "default"
}

// A prober says whether the user may do something.
type prober func(ctx context.Context, n need) (bool, error)

// prober asks Redis by a dry run, which Redis 7 has and only administrators may ask for;
// otherwise by sending the commands as they are.
func (x *examination) prober(ctx context.Context, user string) prober {
	dry := func(ctx context.Context, n need) (bool, error) {
		reply, err := x.stores.Clients.Ops.Do(ctx, append([]any{"ACL", "DRYRUN", user}, n.args...)...).Text()
		return reply == "OK", err
	}
	if user != "" {
		if _, err := dry(ctx, on("", "ping", "PING")); err == nil {
			return dry
		}
	}
	return x.probe
}

// probe sends a command as it stands. What can't but write goes into a transaction that takes it
// back, which is not begun without the permission to end it.
func (x *examination) probe(ctx context.Context, n need) (bool, error) {
	client := x.stores.Clients.Ops
	if n.name != "append" && n.name != "multi" {
		return allowed(client.Do(ctx, n.args...).Err(), "")
	}
	if ends, err := allowed(client.Do(ctx, "EXEC").Err(), ""); err != nil || !ends {
		return true, err // that EXEC is denied is a finding of its own
	}
	key := rediskey.Keys{Prefix: x.cfg.KeyPrefix}.Doctor(rand.Text())
	cmds, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if n.name == "append" {
			p.Append(ctx, key, "v")
		}
		p.Del(ctx, key)
		return nil
	})
	for _, cmd := range cmds {
		if may, _ := allowed(cmd.Err(), n.name); !may {
			return false, nil
		}
	}
	return allowed(err, n.name)
}

// allowed reads a reply: whatever Redis says but a denial means that the user may. Of a
// transaction only the denial of the named command counts.
func allowed(err error, name string) (bool, error) {
	var reply redis.Error
	if err == nil || !errors.As(err, &reply) {
		return err == nil, err
	}
	// EXEC that is denied is a transaction aborted "because of" that.
	denied := redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "EXECABORT") && strings.Contains(err.Error(), "no permissions")
	return !denied || name != "" && !strings.Contains(err.Error(), "'"+name+"'"), nil
}

// listed says what is denied, by kind of key.
func listed(denied []need) string {
	var kinds []string
	by := map[string][]string{}
	for _, n := range denied {
		if !slices.Contains(kinds, n.on) {
			kinds = append(kinds, n.on)
		}
		by[n.on] = append(by[n.on], strings.ToUpper(strings.ReplaceAll(n.name, "|", " ")))
	}
	clauses := make([]string, len(kinds))
	for i, kind := range kinds {
		clauses[i] = strings.Join(by[kind], ", ")
		if kind != "" {
			clauses[i] += fmt.Sprintf(" on %s", kind)
		}
	}
	return strings.Join(clauses, "; ")
}

// grant is the advice to let a user do what the worker does, and nothing else.
func (x *examination) grant(user string) string {
	var commands, keys []string
	for _, n := range needs(x.cfg) {
		if !slices.Contains(commands, "+"+n.name) {
			commands = append(commands, "+"+n.name)
		}
		if n.on != "" && !slices.Contains(keys, "~"+n.on) {
			keys = append(keys, "~"+n.on)
		}
	}
	return "as an administrator: ACL SETUSER " + user + " " + strings.Join(append(keys, commands...), " ")
}
