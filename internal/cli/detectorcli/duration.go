package detectorcli

import (
	"errors"
	"strconv"
	"time"

	"github.com/wardstream/wardstream/internal/strictconfig"
)

// A duration is a flag that reads durations as the configuration does.
type duration time.Duration

var errDuration = errors.New("must be a duration such as 30s, 10m, 12h or 7d")

func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return exact(time.Duration(*d))
}

// exact writes a duration in full, whole days as days.
func exact(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return strictconfig.FormatDuration(d)
}

func (d *duration) Type() string { return "duration" }

func (d *duration) Set(text string) error {
	read, err := strictconfig.ParseDuration(text)
	if err != nil {
		return errDuration
	}
	*d = duration(read)
	return nil
}
