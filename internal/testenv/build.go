package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Build builds programs into the directory or file out. args are those of go build: flags, then
// packages.
func Build(out string, args ...string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return fmt.Errorf("find the directory to build into: %w", err)
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if arg, err = filepath.Abs(arg); err == nil && strings.HasPrefix(args[i], ".") {
			args[i] = arg
		}
	}
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", out}, args...)...) //nolint:noctx // ends with the test binary
	cmd.Dir = root
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", args, err, said)
	}
	return nil
}

// moduleRoot returns the folder of the module with the programs, in or above the working directory:
// tests may be in a nested module, which does not require all that the programs do.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		text, missing := os.ReadFile(filepath.Join(dir, "go.mod")) //nolint:gosec // a folder above this one
		if missing == nil && strings.HasPrefix(string(text), "module github.com/wardstream/wardstream\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			err = errNoModule
		}
	}
	return "", fmt.Errorf("find the module: %w", err)
}

var errNoModule = errors.New("no folder above has its go.mod")

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
