package command

import "sori.internal/shared/config"

// DefaultDir is the local runner's state folder.
const DefaultDir = ".sori"

// Settings returns the settings with which an operator's command reaches a running Sori: one that the
// local runner started in the folder dir, or any other, by the variables that the services themselves
// read. Without a folder the environment counts if it names a bus, else DefaultDir does. There are no
// flags for URLs: they hold passwords, and a command line is seen by everybody on the machine.
func Settings(dir string, environment config.Lookup) (config.Lookup, error) {
	if dir == "" {
		if url, ok := environment("NATS_URL"); ok && url != "" {
			return environment, nil
		}
		dir = DefaultDir
	}
	e, err := Read(dir)
	if err != nil {
		return nil, err
	}
	local := config.Map(map[string]string{
		"NATS_URL": e.NATS, "DATABASE_URL": e.Postgres, "S3_ENDPOINT": e.S3, "S3_BUCKET_NAME": e.S3Bucket,
		"TRACKER_URL": e.Tracker, "PRINCIPAL_SECRET": e.Principal, "AWS_REGION": e.S3Region, "AWS_ACCESS_KEY_ID": e.S3AccessKey, "AWS_SECRET_ACCESS_KEY": e.S3SecretKey,
	})
	return func(name string) (string, bool) {
		if v, ok := local(name); ok {
			return v, true
		}
		return environment(name)
	}, nil
}
