package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/backends"
)

const (
	redisCheck       = "redis"
	persistenceCheck = "redis persistence"
	memoryCheck      = "redis memory"
	clockCheck       = "clock"
)

// A node is what one server says of itself.
type node struct {
	addr string
	info map[string]string
	save string // the snapshots configured; "?" if the server does not report them

	server backends.Server
}

// redis looks at the servers.
func (x *examination) redis(ctx context.Context) bool {
	version, err := x.stores.CheckRedis(ctx)
	if errors.Is(err, backends.ErrClusterNode) {
		x.add(redisCheck, Fail, "write redis+cluster://host1,host2 into redis.url", "%s is a node of a Redis Cluster", x.cfg.Redis.URL)
		return false
	}
	if err != nil {
		advice := "the detector can't start without it"
		if redis.HasErrorPrefix(err, "NOPERM") {
			advice = x.grant(userOf(string(x.cfg.Redis.URL)))
		}
		x.add(redisCheck, Fail, advice, "%v", err)
		return false
	}
	nodes, err := x.nodes(ctx)
	if err != nil {
		x.add(redisCheck, Fail, "see that every master of it can be reached from here", "%v", err)
		return false
	}
	if !x.topology(nodes, version) {
		return false
	}
	for _, n := range nodes {
		x.persistence(n)
		x.memory(n)
	}
	return true
}

// nodes asks the server, or each master of a cluster.
func (x *examination) nodes(ctx context.Context) ([]node, error) {
	cluster, ok := x.stores.Clients.Ops.(*redis.ClusterClient)
	if !ok {
		n, err := ask(ctx, x.stores.Clients.Ops, "")
		return []node{n}, err
	}
	var mu sync.Mutex
	var nodes []node
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		n, err := ask(ctx, master, " of "+master.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, n)
		return err
	})
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.addr, b.addr) })
	if err != nil {
		return nodes, fmt.Errorf("ask the masters of the cluster: %w", err)
	}
	return nodes, nil
}

func ask(ctx context.Context, client redis.UniversalClient, addr string) (node, error) {
	text, err := client.Info(ctx).Result()
	n := node{addr: addr, info: map[string]string{}, save: "?"}
	if err != nil {
		return n, fmt.Errorf("ask for its state: %w", err)
	}
	n.server = backends.ReadServer(text)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			n.info[name] = value
		}
	}
	// Not every server reports this, nor has it to: CONFIG is for administrators.
	if got, err := client.ConfigGet(ctx, "save").Result(); err == nil {
		n.save = got["save"]
	}
	return n, nil
}

// topology looks at what kind of server it is. The detector writes, and so does nothing with a
// replica.
func (x *examination) topology(nodes []node, version string) bool {
	_, cluster := x.stores.Clients.Ops.(*redis.ClusterClient)
	kind := "one server"
	if cluster {
		kind = "cluster of " + count(len(nodes), "master")
	} else if strings.Contains(string(x.cfg.Redis.URL), "+sentinel:") {
		kind = "a master found through Sentinels"
	}
	for _, n := range nodes {
		switch {
		case n.server.Mode == "sentinel":
			x.add(redisCheck, Fail, "write redis+sentinel://host1,host2/master into redis.url to find the master through it", "%s is a Sentinel", x.cfg.Redis.URL)
			return false
		case n.info["role"] == "slave":
			x.add(redisCheck, Fail, "point redis.url at the master", "the server%s is a replica and takes no writes", n.addr)
			return false
		}
	}
	if len(nodes) > 0 && nodes[0].server.Product != "Redis" {
		version = fmt.Sprintf("%s, as Redis %s", nodes[0].server, version)
	}
	x.ok(redisCheck, "%s answers: version %s, %s", x.cfg.Redis.URL, version, kind)
	return true
}

func (x *examination) persistence(n node) {
	const advice = "set appendonly yes on the server"
	switch {
	case n.info["aof_enabled"] == "1" && n.info["aof_last_write_status"] == "err":
		x.add(persistenceCheck, Fail, "see its log; its disk may be full", "the append-only file%s can't be written", n.addr)
	case n.info["aof_enabled"] == "1":
		x.ok(persistenceCheck, "append-only file%s", n.addr)
	case n.save == "?":
		x.add(persistenceCheck, Warn, advice+", unless the service keeps the data otherwise",
			"no append-only file%s, and whether there are snapshots is not known", n.addr)
	case n.save != "":
		x.add(persistenceCheck, Warn, advice, "snapshots only%s (save %s): a crash loses the events since the last", n.addr, n.save)
	default:
		x.add(persistenceCheck, Warn, advice, "none%s: a restart loses unread events, windows and temporary blocks", n.addr)
	}
}

// nearlyFull is the share of maxmemory from which room is short.
const nearlyFull = 0.9

func (x *examination) memory(n node) {
	policy := cmp.Or(n.info["maxmemory_policy"], "unknown")
	limit, _ := strconv.ParseFloat(n.info["maxmemory"], 64) // 0 is none, and so is what is not reported
	used, _ := strconv.ParseFloat(n.info["used_memory"], 64)
	share := ""
	if limit > 0 {
		share = fmt.Sprintf(", %.0f %% of maxmemory used", 100*used/limit)
	}
	switch {
	case policy != "noeviction":
		x.add(memoryCheck, Warn, "set maxmemory-policy noeviction on the server",
			"maxmemory-policy%s is %s%s: streams, windows and blocks may be evicted", n.addr, policy, share)
	case limit > 0 && used/limit >= nearlyFull:
		x.add(memoryCheck, Warn, "raise maxmemory, or shorten stream.retention", "noeviction%s%s: when it is full no event can be published", n.addr, share)
	default:
		x.ok(memoryCheck, "noeviction%s%s", n.addr, share)
	}
}

// maxSkew is how far clocks may be apart before it shows: blocks would end early or late by that.
const maxSkew = time.Second

// clock compares this host's clock with that of Redis, which gives events their time.
func (x *examination) clock(ctx context.Context) bool {
	before := time.Now()
	theirs, err := x.stores.Clients.Ops.Time(ctx).Result()
	took := time.Since(before)
	if err != nil {
		x.add(clockCheck, Warn, "let the user run TIME", "Redis does not report its time: %v", err)
		return true
	}
	skew := before.Add(took / 2).Sub(theirs).Round(time.Millisecond)
	if skew.Abs() > maxSkew+took {
		x.add(clockCheck, Warn, "run a time service (NTP) on both hosts", "this host is %s off Redis's clock: blocks end that much early or late", skew)
		return true
	}
	x.ok(clockCheck, "within %s of Redis's", maxSkew)
	return true
}
