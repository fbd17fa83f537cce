package detectorcli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/mattn/go-runewidth"

	"github.com/wardstream/wardstream/internal/cli"
)

// openTerminal returns the two ends of a pseudo-terminal of so many columns.
func openTerminal(t *testing.T, columns uint16) (far, near *os.File) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	var unlock, number int32
	control(t, far, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	control(t, far, syscall.TIOCGPTN, unsafe.Pointer(&number))
	near, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	size := [4]uint16{24, columns}
	control(t, near, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	return far, near
}

func control(t *testing.T, f *os.File, request uintptr, value unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(value)); errno != 0 {
		t.Fatal(errno)
	}
}

// onTerminal runs a command whose standard output is a terminal of so many columns, and returns its
// lines.
func onTerminal(t *testing.T, columns uint16, args ...string) []string {
	t.Helper()
	far, near := openTerminal(t, columns)
	var out, errs bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&out, far) // which ends in an error, when the near end is gone
	}()
	app := cli.App{Args: args, Stdout: near, Stderr: &errs, Version: "v1"}
	if code := Main(t.Context(), context.WithoutCancel(t.Context()), app); code != cli.ExitOK {
		t.Fatalf("%v: exit %d, %s", args, code, errs.String())
	}
	_ = near.Close()
	<-read
	return strings.Split(strings.TrimSuffix(strings.ReplaceAll(out.String(), "\r\n", "\n"), "\n"), "\n")
}

// TestOutputFitsTheTerminal: tables and --help are as wide as the terminal at most, and what names
// a row stays whole as long as that goes. Into a pipe everything is written in full.
func TestOutputFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for _, columns := range []uint16{60, 80, 132} {
		for _, line := range []string{"rules list --all", "block --help", "blocks --help"} {
			for i, text := range onTerminal(t, columns, strings.Fields(line)...) {
				prose := strings.HasSuffix(line, "--help") && !strings.HasPrefix(strings.TrimSpace(text), "-") // is written for 100 columns
				if n := runewidth.StringWidth(text); n > int(columns) && !prose {
					t.Errorf("%s, line %d: %d columns on a terminal of %d: %q", line, i, n, columns, text)
				}
			}
		}
	}
	if lines := onTerminal(t, 80, "rules", "list", "--all"); !strings.HasPrefix(lines[len(lines)-1], "suspicious_proxy_header ") && !strings.Contains(strings.Join(lines, "\n"), "\nsuspicious_proxy_header ") {
		t.Errorf("a rule's name is cut: %q", lines)
	}
	_, piped, _ := commandLine(t.Context(), nil, "rules", "list", "--all")
	if strings.Contains(piped, "…") {
		t.Errorf("what goes into a pipe is cut:\n%s", piped)
	}
}
