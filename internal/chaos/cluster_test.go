package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/daemontest"
	"github.com/wardstream/wardstream/internal/testenv"
)

// perPrimary is how many addresses are blocked on each primary.
const perPrimary = 3

// A cluster is a Redis Cluster of its own beside the world, with blocks on each primary, and two
// ingress-checks that know nothing but it.
type cluster struct {
	*testenv.ClusterEnv

	env     []string
	blocked [][]string // addresses, by primary
	clean   string     // an address that isn't blocked
	spare   []string   // others, by primary, for blocks that come and go
	ingress []*ingress
	http    *http.Client
}

// An ingress is an ingress-check.
type ingress struct {
	*daemontest.Process

	name   string
	mirror bool
}

// end ends all of it.
func (c *cluster) end() {
	for _, s := range c.ingress {
		s.End(syscall.SIGKILL)
	}
	for i := range c.Primaries {
		c.Primaries[i].Kill()
		c.Replicas[i].Kill()
	}
	c.http.CloseIdleConnections()
}

// startCluster starts servers, blocks addresses, and starts the ingress-checks. What a living
// primary has must be denied while another is gone, so the servers go on for the slots that they
// have.
func startCluster(w *world) (*cluster, error) {
	c := &cluster{
		ClusterEnv: testenv.Cluster(w.t, "--cluster-require-full-coverage", "no"),
		clean:      "10.0.0.1",
		http:       &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
	c.env = []string{"WARDSTREAM_REDIS_URL=" + c.URL}
	c.choose()
	for _, addresses := range c.blocked {
		for _, addr := range addresses {
			if _, err := w.commandWith(c.env, "block", "ip", addr, "--ttl", "10h", "--reason", "chaos"); err != nil {
				return c, err
			}
		}
	}
	program := filepath.Join(w.t.TempDir(), "ingress-check")
	if err := testenv.Build(program, "../../cmd/ingress-check"); err != nil {
		return c, err
	}
	for _, mirror := range []bool{false, true} {
		if err := c.serve(w.t, program, mirror); err != nil {
			return c, err
		}
	}
	return c, nil
}

// choose finds addresses whose block keys each primary has.
func (c *cluster) choose() {
	c.blocked, c.spare = make([][]string, len(c.Primaries)), make([]string, len(c.Primaries))
	for n, left := 0, len(c.Primaries)*(perPrimary+1); left > 0; n++ {
		addr := "10.1." + strconv.Itoa(n/250) + "." + strconv.Itoa(1+n%250)
		i := c.PrimaryOf(prefix + ":block:ip:" + addr)
		switch {
		case len(c.blocked[i]) < perPrimary:
			c.blocked[i] = append(c.blocked[i], addr)
		case c.spare[i] == "":
			c.spare[i] = addr
		default:
			continue
		}
		left--
	}
}

var errNotListening = errors.New("ingress-check doesn't listen")

func (c *cluster) serve(t testing.TB, program string, mirror bool) error {
	s := &ingress{name: "ingress-check", mirror: mirror}
	cmd := exec.Command(program, "serve", "--addr", "127.0.0.1:0", "--key-prefix", prefix, "--trusted-proxies", "127.0.0.0/8", "--timeout", "5s")
	if mirror {
		s.name += " --mirror"
		cmd.Args = append(cmd.Args, "--mirror")
	}
	cmd.Env = c.env
	var err error
	if s.Process, err = daemontest.Start(cmd, func(*daemontest.Process) {}); err != nil {
		return err
	}
	t.Cleanup(func() { s.End(syscall.SIGKILL) })
	select {
	case <-s.Started:
	case <-s.Exited:
	case <-time.After(patience):
	}
	if !s.Working() {
		return fmt.Errorf("%w: %s", errNotListening, s.Log())
	}
	c.ingress = append(c.ingress, s)
	return nil
}

// status is what an ingress-check answers a proxy.
func (c *cluster) status(ctx context.Context, s *ingress, path, addr string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr()+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Forwarded-For", addr)
	req.Header.Set("X-Forwarded-Uri", "/shop/cart")
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// is says what is wrong if an ingress-check doesn't deny an address, or does, as it should.
func (c *cluster) is(ctx context.Context, s *ingress, addr string, denied bool) error {
	want := http.StatusOK
	if denied {
		want = http.StatusTooManyRequests
	}
	got, err := c.status(ctx, s, "/", addr)
	if err == nil && got != want {
		err = fmt.Errorf("%s: %w %d for %s, want %d", s.name, errStatus, got, addr, want)
	}
	return err
}

var errStatus = errors.New("status")

// normal says what isn't as it should be with the whole cluster up.
func (c *cluster) normal(ctx context.Context) error {
	for _, s := range c.ingress {
		if got, err := c.status(ctx, s, "/readyz", c.clean); err != nil || got != http.StatusOK {
			return fmt.Errorf("%s: %w %d of /readyz: %w", s.name, errStatus, got, err)
		}
		if err := c.is(ctx, s, c.clean, false); err != nil {
			return err
		}
		for _, addresses := range c.blocked {
			for _, addr := range addresses {
				if err := c.is(ctx, s, addr, true); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// A watch keeps asking both ingress-checks while a primary is gone.
type watch struct {
	*cluster

	gone  int
	mu    sync.Mutex
	wrong [][]string // what must not be, by primary
	asked int
}

// follow asks one ingress-check about every client until ctx ends. No client is denied without a
// block; a client that is blocked on a primary that lives is denied, and a mirror denies every
// blocked client.
func (v *watch) follow(ctx context.Context, s *ingress) {
	for ctx.Err() == nil {
		v.note(ctx, v.gone, v.is(ctx, s, v.clean, false))
		for i, addresses := range v.blocked {
			for _, addr := range addresses {
				err := v.is(ctx, s, addr, true)
				if i == v.gone && !s.mirror && errors.Is(err, errStatus) {
					err = v.is(ctx, s, v.clean, false) // it answers nevertheless
				}
				v.note(ctx, i, err)
			}
		}
		wait(time.Millisecond)
	}
}

func (v *watch) note(ctx context.Context, primary int, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	if err != nil && ctx.Err() == nil {
		v.wrong[primary] = append(v.wrong[primary], err.Error())
	}
}
