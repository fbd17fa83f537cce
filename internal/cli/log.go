package cli

import (
	"io"
	"log/slog"

	"github.com/wardstream/wardstream/internal/wire"
)

// NewLogger returns a logger for the level (debug, info, warn or error) and the format (json or
// text). What it writes is safe for a terminal.
func NewLogger(w io.Writer, level, format string) *slog.Logger {
	var least slog.Level
	if least.UnmarshalText([]byte(level)) != nil {
		least = slog.LevelInfo // configurations allow no other
	}
	o := &slog.HandlerOptions{Level: least}
	if format == string(TextFormat) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(wire.PrintableWriter(w), o))
}
