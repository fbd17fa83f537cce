package chaos

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// A timeline is what was done, and when.
type timeline struct {
	begin time.Time
	mu    sync.Mutex
	lines []string
}

// linesKept is how much of the past a failure shows.
const linesKept = 60

func (l *timeline) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%9.3fs  ", time.Since(l.begin).Seconds())+fmt.Sprintf(format, args...))
	if over := len(l.lines) - linesKept; over > 0 {
		l.lines = l.lines[over:]
	}
}

func (l *timeline) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}
