// Package connect tells an operator's programs how to reach a running Sori: one
// that the local runner started, by the file that it writes into its state
// folder, or any other, by the variables that the services themselves read.
// There are no flags for URLs: they hold passwords, and a command line is seen by
// everybody on the machine.
package connect

import (
	"flag"

	"sori.internal/shared/config"
)

// DefaultDir is the local runner's state folder.
const DefaultDir = ".sori"

// Flags adds -dir to a command's flags. The returned function gives the settings
// once the flags are parsed: those of the folder where -dir names one or the
// environment names no bus, else the environment's.
func Flags(flags *flag.FlagSet, environment config.Lookup) func() (config.Lookup, error) {
	dir := flags.String("dir", "", "the state folder of a local Sori (default "+DefaultDir+", unless NATS_URL is set)")
	return func() (config.Lookup, error) {
		if *dir == "" {
			if url, ok := environment("NATS_URL"); ok && url != "" {
				return environment, nil
			}
			*dir = DefaultDir
		}
		e, err := Read(*dir)
		if err != nil {
			return nil, err
		}
		local := config.Map(map[string]string{
			"NATS_URL": e.NATS, "DATABASE_URL": e.Postgres, "S3_ENDPOINT": e.S3, "S3_BUCKET_NAME": e.S3Bucket,
			"TRACKER_URL": e.Tracker, "AWS_REGION": e.S3Region, "AWS_ACCESS_KEY_ID": e.S3AccessKey, "AWS_SECRET_ACCESS_KEY": e.S3SecretKey,
		})
		return func(name string) (string, bool) {
			if v, ok := local(name); ok {
				return v, true
			}
			return environment(name)
		}, nil
	}
}

// Parse parses flags wherever they stand among the arguments, and returns the
// arguments that are none.
func Parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
}
