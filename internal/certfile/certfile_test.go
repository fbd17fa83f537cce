package certfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnusableFiles: what is wrong is said, and the path is left to the caller.
func TestUnusableFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing, empty := filepath.Join(dir, "missing"), filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, missingPool := Authorities(missing)
	_, emptyPool := Authorities(empty)
	_, missingPair := Pair(missing, missing)
	_, emptyPair := Pair(empty, empty)
	for name, tc := range map[string]struct {
		err     error
		want    string
		missing bool
	}{
		"no file of authorities": {missingPool, "can't be read: no such file or directory", true},
		"no authority":           {emptyPool, "holds no certificate in PEM form", false},
		"no file of the pair":    {missingPair, "no such file or directory", true},
		"no pair":                {emptyPair, "failed to find any PEM data", false},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) || strings.Contains(tc.err.Error(), dir) || errors.Is(tc.err, fs.ErrNotExist) != tc.missing {
			t.Errorf("%s: %v, want %q without the path", name, tc.err, tc.want)
		}
	}
}
