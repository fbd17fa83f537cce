package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// tick is how often what has expired is removed from the server. A TTL may come out
// shorter by as much.
const tick = 50 * time.Millisecond

// redisVersion is what the server says it is: what it can do is about that.
const redisVersion = "7.0.0"

// A redisServer is a Redis-compatible server in this process, on a real port. It
// forgets everything when it is closed.
type redisServer struct {
	mini   *miniredis.Miniredis
	done   chan struct{}
	ticker sync.WaitGroup
}

// startRedis listens on addr, a host and a port; port 0 is any that is free.
func startRedis(addr string) (*redisServer, error) {
	s := &redisServer{mini: miniredis.NewMiniRedis(), done: make(chan struct{})}
	if err := s.mini.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	s.mini.Server().SetPreHook(s.complete)
	if err := s.mini.Server().Register("CONFIG", configGet); err != nil {
		s.mini.Close()
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	s.ticker.Go(s.expire)
	return s, nil
}

// expire lets the time of TTLs pass, which the server doesn't do by itself.
func (s *redisServer) expire() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-s.done:
			return
		case now := <-ticker.C:
			s.mini.FastForward(now.Sub(last))
			last = now
		}
	}
}

// Addr is the server's host and port.
func (s *redisServer) Addr() string { return s.mini.Addr() }

// URL names the server to clients.
func (s *redisServer) URL() string { return "redis://" + s.Addr() + "/0" }

// Close stops the server and closes every connection.
func (s *redisServer) Close() {
	close(s.done)
	s.ticker.Wait()
	s.mini.Close()
}

// complete answers what usual clients and our own commands ask a Redis at the
// start and miniredis doesn't know, or answers in a way that redis-cli can't bear. It
// reports whether it has.
func (s *redisServer) complete(c *server.Peer, cmd string, args ...string) bool {
	sub := ""
	if len(args) > 0 {
		sub = strings.ToUpper(args[0])
	}
	switch {
	case cmd == "INFO" && sub != "CLIENTS" && sub != "STATS":
		c.WriteBulk("# Server\r\nredis_version:" + redisVersion + "\r\nredis_mode:standalone\r\n" +
			"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\nloading:0\r\naof_enabled:0\r\n" +
			"# Replication\r\nrole:master\r\n")
	case cmd == "COMMAND" && sub != "":
		c.WriteError("ERR unknown subcommand '" + sub + "'. Try COMMAND HELP.")
	case cmd == "CLIENT" && sub == "SETINFO":
		c.WriteOK()
	case cmd == "XINFO" && sub == "GROUPS" && len(args) == 2 && c.ClientName != insider:
		return s.xinfoGroups(c, args[1])
	default:
		return false
	}
	return true
}

// configGet answers CONFIG GET of what our doctor looks at: there is no limit of
// memory, so nothing is evicted.
func configGet(c *server.Peer, _ string, args []string) {
	if len(args) < 2 || !strings.EqualFold(args[0], "GET") {
		c.WriteError("ERR CONFIG can only GET here")
		return
	}
	settings := map[string]string{"maxmemory": "0", "maxmemory-policy": "noeviction", "save": ""}
	var found []string
	for _, name := range args[1:] {
		if value, ok := settings[strings.ToLower(name)]; ok {
			found = append(found, strings.ToLower(name), value)
		}
	}
	c.WriteMapLen(len(found) / 2)
	for _, text := range found {
		c.WriteBulk(text)
	}
}

// insider is the name of the connections on which this package asks the server itself.
const insider = "wardstream-insider"

// xinfoGroups answers XINFO GROUPS as miniredis does, but for two things: it takes the
// length of the stream for the lag, and writes the ID 0-0 of a new group as 0. It
// reports false, having written nothing, where miniredis has no list to reply.
func (s *redisServer) xinfoGroups(c *server.Peer, stream string) bool {
	groups, ok := s.ask(c, "XINFO", "GROUPS", stream).([]any)
	if !ok {
		return false
	}
	c.WriteLen(len(groups))
	for _, g := range groups {
		fields, _ := g.([]any) // names and values in turn
		s.correct(c, stream, fields)
		c.WriteMapLen(len(fields) / 2)
		for _, v := range fields {
			write(c, v)
		}
	}
	return true
}

// correct fixes the reply of XINFO GROUPS for one group.
func (s *redisServer) correct(c *server.Peer, stream string, fields []any) {
	last := slices.Index(fields, any("last-delivered-id")) + 1
	lag := slices.Index(fields, any("lag")) + 1
	if last == 0 || lag == 0 {
		return
	}
	if fields[last] == "0" {
		fields[last] = "0-0"
	}
	if unread, ok := s.ask(c, "XRANGE", stream, fmt.Sprint("(", fields[last]), "+").([]any); ok {
		fields[lag] = len(unread)
	}
}

// write writes a part of a reply.
func write(c *server.Peer, v any) {
	switch v := v.(type) {
	case int:
		c.WriteInt(v)
	case string:
		c.WriteBulk(v)
	default:
		c.WriteNull()
	}
}

// ask has the server reply to one more command in the course of another, on the
// same connection: under the same lock, if it is a script's.
func (s *redisServer) ask(c *server.Peer, args ...string) any {
	var raw bytes.Buffer
	w := bufio.NewWriter(&raw)
	peer := server.NewPeer(w)
	peer.Ctx, peer.ClientName = c.Ctx, insider
	s.mini.Server().Dispatch(peer, args)
	if err := w.Flush(); err != nil {
		return nil
	}
	reply, err := server.ParseReply(bufio.NewReader(&raw))
	if err != nil {
		return nil
	}
	return reply
}
