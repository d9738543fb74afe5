package command

import "sori.internal/shared/config"

// DefaultDir is the local runner's state folder.
const DefaultDir = ".sori"

// Settings returns the settings with which an operator's command connects to a running installation:
//
//  1. If dir is not empty, the settings of the installation that the local runner has started in that
//     folder.
//  2. Otherwise, if the environment contains NATS_URL, the environment variables. They have the same
//     names as those of the services.
//  3. Otherwise the settings of the installation in DefaultDir.
//
// There are no flags for URLs, because URLs contain passwords and every user of the machine can read a
// command line.
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
		// NATS_URL contains the user. Settings of the environment for another server are not used.
		"NATS_USER": "", "NATS_PASSWORD": "", "NATS_CREDS": "", "NATS_CA": "", "NATS_CERT": "", "NATS_KEY": "",
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
