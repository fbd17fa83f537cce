package detector

import (
	"context"

	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/sinks/sinkset"
)

// openSinks opens the configured sinks and standard output, and the fan-out to them.
func (d *Detector) openSinks(ctx context.Context, o Options) error {
	origin := sinkset.Origin(d.cfg, o.Version)
	set, err := sinkset.Open(ctx, d.cfg, d.stores.Clients.Ops, o.Getenv, origin)
	if err != nil {
		return err
	}
	d.cleanups.add("sinks", set.Close)
	if d.cfg.Events.Stdout && o.Stdout != nil {
		set.Add(sinks.Named{Name: "stdout", Sink: sinks.NewJSONL(o.Stdout, origin)})
	}
	d.fanout, err = sinks.NewFanout(sinks.Options{Registerer: d.registry, Logger: d.log, Now: d.now}, set.Sinks...)
	if err != nil {
		return err
	}
	d.cleanups.add("fan-out of events", d.fanout.Close)
	return nil
}
