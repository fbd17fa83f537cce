package display_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/wardstream/wardstream/internal/cli/display"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		0: "0s", 300 * time.Millisecond: "300ms", time.Second: "1s", 59*time.Second + 900*time.Millisecond: "59s", time.Minute: "1m", 598 * time.Second: "9m58s",
		time.Hour: "1h", time.Hour + 59*time.Second: "1h", 90 * time.Minute: "1h30m", day - time.Second: "23h59m", day: "1d", 7 * day: "7d",
		7*day - time.Second: "6d23h", 30 * day: "30d", 8198*time.Hour + 55*time.Minute + 14*time.Second: "341d", 365 * day: "365d", 10*day + 5*time.Hour: "10d",
		-90 * time.Minute: "-1h30m", 1<<63 - 1: "106751d", -1 << 63: "-53375d", 5: "5ns",
	} {
		if got := display.Duration(d); got != want {
			t.Errorf("%d ns reads %q, want %q", d, got, want)
		}
	}
}

// TestTableFitsTheTerminal: whatever the width, no line is wider; the column that yields first is
// short before another is, and without a width nothing is cut.
func TestTableFitsTheTerminal(t *testing.T) {
	t.Parallel()
	table := display.Table{
		Header: []string{"SCOPE", "VALUE", "REMAINING", "REASON"},
		Rows: [][]string{
			{"ip", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", "341d", "Repeated login failures detected from this address"},
			{"user", "山田太郎", "permanent", "短い理由"},
			{"session", "e\u0301te\u0301", "5m", "x"},
		},
		Yield: []int{3, 1},
	}
	write := func(width int) []string {
		var out strings.Builder
		if err := table.Write(&out, width); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	for width := 1; width <= 140; width++ {
		lines := write(width)
		if len(lines) != 4 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range lines {
			if n := runewidth.StringWidth(line); n > width {
				t.Errorf("%d columns at a width of %d: %q", n, width, line)
			}
		}
	}
	if lines := write(80); !strings.Contains(lines[1], "eeee:ffff  341d") || !strings.HasSuffix(lines[1], "…") {
		t.Errorf("at a width of 80 the reason doesn't yield first: %q", lines[1])
	}
	if lines := write(60); !strings.Contains(lines[1], "…  341d") || strings.Contains(lines[1], "ffff") {
		t.Errorf("at a width of 60 the value doesn't yield: %q", lines[1])
	}
	if lines := write(0); !strings.HasSuffix(lines[1], "from this address") || lines[3] != "session  e\u0301te\u0301                                     5m         x" {
		t.Errorf("without a width: %q", lines)
	}
	column := func(line, of string) int { return runewidth.StringWidth(line[:strings.Index(line, of)]) }
	lines := write(0)
	for i, of := range []string{"REMAINING", "341d", "permanent", "5m"} {
		if got := column(lines[i], of); got != column(lines[0], "REMAINING") {
			t.Errorf("%s is in column %d: %q", of, got, lines[i])
		}
	}
}

func TestFold(t *testing.T) {
	t.Parallel()
	const text = "set appendonly yes on the server, and appendfsync everysec"
	if got := display.Fold(text, 10, 0); got != text {
		t.Errorf("%q", got)
	}
	if got := display.Fold(text, 30, 40); got != text {
		t.Errorf("no room: %q", got)
	}
	for i, line := range strings.Split(display.Fold(text, 10, 40), "\n") {
		indent := strings.Repeat(" ", 10)
		if i > 0 && !strings.HasPrefix(line, indent) || len(strings.TrimPrefix(line, indent)) > 30 {
			t.Errorf("line %d: %q", i, line)
		}
	}
}
