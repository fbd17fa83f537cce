package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const (
	folder = "../../testdata/cases"
	// floor is how many cases there are at least; it is raised as they grow, so that none get lost.
	floor = 120
)

// TestCases runs every case of every file.
func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found, ran := 0, new(atomic.Int64)
	t.Cleanup(func() {
		if n := int(ran.Load()); n < found || n < floor {
			t.Errorf("%d cases ran of the %d in the files; there must be %d", n, found, floor)
		}
	})
	seen := map[string]string{}
	for _, file := range files {
		cases, err := readCases(file)
		if err != nil {
			t.Fatal(err)
		}
		found += len(cases)
		for _, c := range cases {
			place := fmt.Sprintf("%s:%d", filepath.Base(file), c.line)
			if first, twice := seen[c.Name]; twice {
				t.Errorf("%s: the case of %s is called %q too", place, first, c.Name)
			}
			seen[c.Name] = place
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			for _, c := range cases {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					t.Logf("%s:%d", filepath.Base(file), c.line)
					c.run(t, t.Errorf)
					ran.Add(1)
				})
			}
		})
	}
}

// run carries a case out.
func (c *testCase) run(t *testing.T, report report) {
	t.Helper()
	if c.Want != nil {
		c.detect(t, report)
	}
	if c.Ingress != nil {
		c.askIngress(t, report)
	}
}
