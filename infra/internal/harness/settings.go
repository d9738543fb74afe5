package harness

import (
	"fmt"
	"maps"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

// Bucket is where recordings lie.
const Bucket = "sori"

// Layout is where everything listens: host:port by program and copy.
type Layout map[string][]string

// URL is where a copy of a program answers; empty where there is none.
func (l Layout) URL(name string, i int) string {
	if i >= len(l[name]) {
		return ""
	}
	return "http://" + l[name][i]
}

// nobody is an address at which nothing answers: that of a program without copies, which the others then find away.
const nobody = "http://127.0.0.1:9"

// near is the copy that the given copy of another program talks to: the load is spread as evenly as fixed addresses allow.
func (l Layout) near(name string, i int) string {
	if len(l[name]) == 0 {
		return nobody
	}
	return l.URL(name, i%len(l[name]))
}

// Reserve finds an address on the loopback interface for every copy (Options.Copies). The first copies of programs that are
// given an address have that one. No port is found twice; what takes one afterwards, before its program does, makes that
// program fail.
func Reserve(copies map[string]int, given map[string]string) (Layout, error) {
	found := Layout{}
	for _, name := range Names() {
		n, told := copies[name]
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
	return found, nil
}

// Secrets are what the services share. Either has at least 32 bytes.
type Secrets struct {
	Webhook   string // signs callback URLs
	Principal string // signs who makes a request
}

// Environment is what one copy of a program must run with, as environment variables. What is not among them has a default.
func Environment(deps stack.Endpoints, at Layout, secrets Secrets, name string, i int) map[string]string {
	own, s3 := map[string]string{"HTTP_ADDR": at[name][i]}, s3Settings(deps)
	bus := map[string]string{"NATS_URL": deps.NATSURL}
	database := map[string]string{"DATABASE_URL": deps.DatabaseURL}
	switch name {
	case Gateway:
		return merge(own, bus, database, s3, map[string]string{
			"TRACKER_URL": at.near(Tracker, i), "DISPATCHER_URL": at.near(Dispatcher, i),
			"PRINCIPAL_SECRET": secrets.Principal,
		})
	case Uploader:
		return merge(own, bus, s3)
	case Dispatcher:
		return merge(own, bus, s3, map[string]string{
			"TARGET_SERVER_URL": at.near(Analyzer, i) + "/analyze", "WEBHOOK_SECRET": secrets.Webhook,
			"ANALYSIS_STATUS_URL": at.near(Analyzer, i) + "/status/{analysis_job_id}",
			"WEBHOOK_URL":         at.URL(Dispatcher, i) + "/tokens/webhook/analysis-complete",
		})
	case Tracker:
		return merge(own, bus, database, s3, map[string]string{"PRINCIPAL_SECRET": secrets.Principal})
	default:
		// Its behaviour may be changed while it runs: it listens on loopback alone.
		return merge(own, s3, map[string]string{"BEHAVIOUR_API": "true"})
	}
}

func s3Settings(deps stack.Endpoints) map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": deps.S3AccessKey, "AWS_SECRET_ACCESS_KEY": deps.S3SecretKey,
		"AWS_REGION": deps.S3Region, "S3_ENDPOINT": deps.S3Endpoint, "S3_BUCKET_NAME": Bucket,
	}
}

// Connections are the settings with which a program reaches all dependencies, and further ones.
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
