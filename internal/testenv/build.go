package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Build builds programs into the directory or file out. args are those of go build: flags, then
// packages.
func Build(out string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", out}, args...)...) //nolint:noctx // ends with the test binary
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", args, err, said)
	}
	return nil
}

// MainWithPrograms is [Main] for tests of programs: it builds them as [Build] does, calls built
// with their directory, and removes it after the tests.
func MainWithPrograms(m *testing.M, built func(dir string), args ...string) int {
	dir, err := os.MkdirTemp("", "wardstream-programs-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := Build(dir, args...); err != nil {
		panic(err)
	}
	built(dir)
	return Main(m)
}
