package ingresscli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/ingress"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

// load returns the options: flags come before the environment, that before the file, if one is
// named, and the file before the defaults. An error of type [strictconfig.Errors] lists everything
// that is wrong.
func load(file string, flags *pflag.FlagSet, environ []string) (ingress.Options, error) {
	o := ingress.DefaultOptions()
	hostname, err := os.Hostname()
	if err != nil {
		return o, fmt.Errorf("read host name: %w", err)
	}
	var text []byte
	if file != "" {
		if text, err = strictconfig.Read(file); err != nil {
			return o, err
		}
	}
	d := strictconfig.New(strictconfig.Options{
		File: file, Environ: environ, Flags: givenFlags(flags), Hostname: hostname, Variable: variable, FlagNotation: true,
	}, &ingress.Options{})
	d.Load(&o, text)
	return o, d.Err()
}

// givenFlags returns the flags that the command line gives.
func givenFlags(flags *pflag.FlagSet) []strictconfig.Flag {
	var given []strictconfig.Flag
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Changed {
			return
		}
		var value any = f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = list.GetSlice()
		}
		given = append(given, strictconfig.Flag{Name: "--" + f.Name, Key: strings.ReplaceAll(f.Name, "-", "_"), Value: value})
	})
	return given
}

// variable returns the name of the environment variable that sets a key, "" if none does.
func variable(key string) string {
	if key == "redis_url" || key == "postgres_url" {
		return strictconfig.Variable(key)
	}
	return ""
}
