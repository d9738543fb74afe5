package harness

import (
	"fmt"
	"maps"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

// Bucket is the name of the S3 bucket for recordings.
const Bucket = "sori"

// Layout contains the addresses (host:port) on which the processes listen, by program and replica.
type Layout map[string][]string

// URL returns the URL of a replica of a program, or "" if there is no such replica.
func (l Layout) URL(name string, i int) string {
	if i >= len(l[name]) {
		return ""
	}
	return "http://" + l[name][i]
}

// nobody is a URL at which no server listens. It is the setting for a program without replicas, so that this program is
// unavailable to the other programs.
const nobody = "http://127.0.0.1:9"

// near returns the URL of the replica of the named program to which the i-th replica of another program sends its requests.
// The load is distributed as evenly as fixed addresses allow.
func (l Layout) near(name string, i int) string {
	if len(l[name]) == 0 {
		return nobody
	}
	return l.URL(name, i%len(l[name]))
}

// Reserve chooses an address on the loopback interface for every replica (Options.Replicas). The parameter given may contain, by
// program, the address of the first replica. No port is chosen twice. If another process takes a port before the program
// listens on it, the start of that program fails.
func Reserve(replicas map[string]int, given map[string]string) (Layout, error) {
	found := Layout{}
	for _, name := range Names() {
		n, told := replicas[name]
		if !told {
			n = 1
		}
		ports, err := proc.FreePorts(n)
		if err != nil {
			return nil, fmt.Errorf("find a port for the %s: %w", name, err)
		}
		for _, port := range ports {
			found[name] = append(found[name], proc.Address(port))
		}
		if addr := given[name]; addr != "" && n > 0 {
			found[name][0] = addr
		}
	}
	for _, name := range Services() {
		ports, err := proc.FreePorts(len(found[name]))
		if err != nil {
			return nil, fmt.Errorf("find a port for the metrics of the %s: %w", name, err)
		}
		for _, port := range ports {
			found[admin(name)] = append(found[admin(name)], proc.Address(port))
		}
	}
	return found, nil
}

// admin returns the key in a Layout under which the metrics addresses of a service's replicas are stored.
func admin(name string) string { return name + "-admin" }

// Secrets are the keys that the services share. Each has at least 32 bytes.
type Secrets struct {
	Webhook   string // key of the signatures of callback URLs
	Principal string // key of the signed principal header, which the gateway sends to the services behind it, and of sealed sources
}

// Environment returns the environment variables that one replica of a program needs. All other settings have defaults.
// The credentials are those of administrators; Accounts.Settings replaces them.
func Environment(deps stack.Endpoints, at Layout, secrets Secrets, name string, i int) map[string]string {
	principal := map[string]string{"PRINCIPAL_SECRET": secrets.Principal}
	// Recordings may be fetched from programs on this machine.
	fetches := map[string]string{"FETCH_ALLOWED": "127.0.0.0/8:*"}
	own, s3 := map[string]string{"HTTP_ADDR": at[name][i]}, s3Settings(deps)
	if metrics := at[admin(name)]; i < len(metrics) {
		own["ADMIN_ADDR"] = metrics[i]
	}
	bus := map[string]string{"NATS_URL": deps.NATSURL}
	database := map[string]string{"DATABASE_URL": deps.DatabaseURL}
	switch name {
	case Gateway:
		return merge(own, bus, database, s3, principal, fetches, map[string]string{
			"TRACKER_URL": at.near(Tracker, i), "DISPATCHER_URL": at.near(Dispatcher, i), "UPLOADER_URL": at.near(Uploader, i),
		})
	case Uploader:
		return merge(own, bus, s3, principal, fetches)
	case Dispatcher:
		return merge(own, bus, s3, map[string]string{
			"TARGET_SERVER_URL": at.near(Analyzer, i) + "/analyze", "WEBHOOK_SECRET": secrets.Webhook, "PRINCIPAL_SECRET": secrets.Principal,
			"ANALYSIS_STATUS_URL": at.near(Analyzer, i) + "/status/{analysis_job_id}",
			"WEBHOOK_URL":         at.URL(Dispatcher, i) + "/tokens/webhook/analysis-complete",
		})
	case Tracker:
		return merge(own, bus, database, s3, principal)
	default:
		// The analyzer's behaviour may be changed at run time, since it listens only on the loopback address. Its temporary files
		// are on a disk, so that it can take the largest recording that clients may upload (MAX_DIRECT_UPLOAD_BYTES).
		return merge(own, map[string]string{"S3_ENDPOINT": deps.S3Endpoint, "BEHAVIOUR_API": "true", "MAX_AUDIO_BYTES": "5368709120"})
	}
}

func s3Settings(deps stack.Endpoints) map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": deps.S3AccessKey, "AWS_SECRET_ACCESS_KEY": deps.S3SecretKey,
		"AWS_REGION": deps.S3Region, "S3_ENDPOINT": deps.S3Endpoint, "S3_BUCKET_NAME": Bucket,
	}
}

// Connections returns the settings with which a program connects to all dependencies, together with the settings in the
// parameter further.
func Connections(deps stack.Endpoints, further map[string]string) map[string]string {
	return merge(map[string]string{"NATS_URL": deps.NATSURL, "DATABASE_URL": deps.DatabaseURL}, s3Settings(deps), further)
}

func merge(parts ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}
