package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// several configures workers of one host as README has it: nothing is said of their names or of
// where they serve metrics.
func several(t *testing.T) *installation {
	t.Helper()
	in := install(t, testenv.Redis(t), nil, "stream: {loops: 2}\n")
	raw, err := os.ReadFile(in.file)
	if err != nil {
		t.Fatal(err)
	}
	in.file = file(t, strings.Replace(string(raw), "http: {addr: '127.0.0.1:0'}\n", "", 1))
	return in
}

// TestSeveralWorkersOnOneHost: as many as are started work, each under a name of its own, and say
// where their metrics are.
func TestSeveralWorkersOnOneHost(t *testing.T) {
	t.Parallel()
	// The default port is in use, by us if by nobody else.
	if l, err := net.Listen("tcp", "127.0.0.1:9090"); err == nil {
		defer l.Close()
	}
	in := several(t)
	var addrs []string
	for range 3 {
		w := in.start()
		if status, body := w.get("/healthz"); status != 200 {
			t.Errorf("healthz: %d %q", status, body)
		}
		if !strings.Contains(w.log.String(), `"msg":"the default http.addr is already in use; metrics and health are at another port","default":"127.0.0.1:9090","http_addr":"`+w.addr+`"`) {
			t.Errorf("the log doesn't say where metrics are: %s", &w.log)
		}
		addrs = append(addrs, w.addr)
	}
	if slices.Sort(addrs); len(slices.Compact(addrs)) != 3 {
		t.Errorf("metrics are at %q", addrs)
	}
	id := in.publish("event_type", "auth.login.failed", "source.address", attacker)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		consumers, err := in.redis.Client.XInfoConsumers(t.Context(), in.stream(), "detectors").Result()
		if err != nil {
			return err
		}
		var names []string
		for _, c := range consumers {
			names = append(names, c.Name)
		}
		slices.Sort(names)
		want := []string{host + "-0", host + "-1", host + ".2-0", host + ".2-1", host + ".3-0", host + ".3-1"}
		if !slices.Equal(names, want) {
			return fmt.Errorf("consumers %q, want %q", names, want)
		}
		return nil
	})
	testenv.Eventually(t, patience, func() error {
		pending, err := in.redis.Client.XPending(t.Context(), in.stream(), "detectors").Result()
		if err == nil && (pending.Count != 0 || in.redis.Client.XInfoGroups(t.Context(), in.stream()).Val()[0].LastDeliveredID != id) {
			err = fmt.Errorf("%d pending", pending.Count)
		}
		return err
	})
}

// TestConfiguredAddressOrNameInUseIsRefused: a configured address or name that is in use is
// refused, and the line says what to do.
func TestConfiguredAddressOrNameInUseIsRefused(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	w := in.start("--consumer", "w1")
	in.command("run", "--consumer", "w2", "--http-addr", w.addr).fails(t, "http.addr "+w.addr+" is already in use: pass --http-addr to choose another")
	in.command("run", "--consumer", "w1").fails(t, "stream.consumer w1 is already in use by another worker of group detectors: pass --consumer to choose another")
	w.stop()
	again := in.start("--consumer", "w1")
	if err := again.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-again.done
	in.start("--consumer", "w1").stop() // at once: the process that had the name is gone
}
