package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

// full asks for the figures; without it the benchmarks only show that they run.
var full = flag.Bool("full", false, "measure at full size and print figures")

func TestMain(m *testing.M) {
	code := testenv.Main(m)
	_ = os.RemoveAll(buildDir)
	os.Exit(code)
}

// buildDir is where the detector is built; "" until it is.
var buildDir string

// A figure is one line of output.
type figure struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Floor   string  `json:"floor,omitempty"` // what it is measured against, in the same run
	Ratio   float64 `json:"ratio,omitempty"`
	Samples int     `json:"samples"`
}

// report prints a figure, if figures are wanted.
func report(t *testing.T, f figure) {
	t.Helper()
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if *full {
		fmt.Println(string(line))
		return
	}
	t.Log(string(line))
}

// size is n in a full run and few otherwise.
func size(n, few int) int {
	if *full {
		return n
	}
	return few
}

const rules = `
rules:
  - name: brute_force_login
  - name: repeated_client_error
  - name: resource_enumeration
events: {stdout: false}
log: {level: warn, format: text}
`

// detectorBinary builds the detector, once for all benchmarks.
func detectorBinary(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "wardstream-bench-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	path := filepath.Join(dir, "detector")
	return path, testenv.Build(path, "../../cmd/detector")
})

// A process is a running detector.
type process struct {
	cmd  *exec.Cmd
	http string
}

// start runs a detector against the Redis at url and a Postgres of the test's own; extra adds to
// its configuration.
func start(t *testing.T, binary, url, extra string) *process {
	t.Helper()
	env := append(os.Environ(), "WARDSTREAM_REDIS_URL="+url, "WARDSTREAM_POSTGRES_URL="+testenv.Postgres(t).URL)
	migrate := exec.CommandContext(t.Context(), binary, "migrate")
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "detector.yaml")
	port := freePort(t)
	text := rules + "http: {addr: \"127.0.0.1:" + port + "\"}\n" + extra
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "run", "--config", config)
	cmd.Env = env
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, http: "http://127.0.0.1:" + port}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// memory is the resident set in bytes: now, and at its highest.
func (p *process) memory(t *testing.T) (now, peak float64) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0, 0
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib * 1024
		case "VmHWM:":
			peak = kib * 1024
		}
	}
	return now, peak
}

// cpu is the processor time a process has used, in seconds.
func cpu(t *testing.T, pid int) float64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// metric reads one sample of the detector's metrics, summed over its labels.
func (p *process) metric(t *testing.T, name string) float64 {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, p.http+"/metrics", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	sum := 0.0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') { // labels may be part of name
			v, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			sum += v
		}
	}
	return sum
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

// fill publishes n events of the workload.
func fill(t *testing.T, client *redis.Client, n int, encode func([]string) []string) {
	t.Helper()
	work := NewWorkload(1)
	for done := 0; done < n; {
		_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for range min(1000, n-done) {
				p.XAdd(t.Context(), &redis.XAddArgs{Stream: "audit:events", Values: encode(work.Next())})
				done++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// drained waits until the group has acked n entries.
func drained(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	testenv.Eventually(t, 5*time.Minute, func() error {
		groups, err := client.XInfoGroups(t.Context(), "audit:events").Result()
		if err != nil {
			return err
		}
		if len(groups) == 1 && groups[0].EntriesRead == int64(n) && groups[0].Pending == 0 {
			return nil
		}
		return fmt.Errorf("%+v of %d", groups, n)
	})
}

// info reads numbers of INFO.
func info(ctx context.Context, t *testing.T, client *redis.Client, name string) float64 {
	t.Helper()
	text, err := client.Info(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			f, _ := strconv.ParseFloat(v, 64)
			return f
		}
	}
	t.Fatalf("INFO has no %s", name)
	return 0
}

// quantile is the p-quantile of samples, which it sorts.
func quantile(samples []time.Duration, p float64) float64 {
	slices.Sort(samples)
	return float64(samples[min(int(p*float64(len(samples))), len(samples)-1)].Nanoseconds()) / 1000
}
