package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/natsauth"
	"sori.internal/infra/internal/stack"
)

// writeEndpoints writes the endpoints file, in which other programs find the URLs and credentials. remove deletes it.
func writeEndpoints(dir string, deps stack.Endpoints, at harness.Layout, vars map[string]map[string]string) (remove func(), err error) {
	return command.Endpoints{
		Gateway: at.URL(harness.Gateway, 0), Uploader: at.URL(harness.Uploader, 0), Dispatcher: at.URL(harness.Dispatcher, 0), Tracker: at.URL(harness.Tracker, 0),
		NATS: operatorURL(deps.NATSURL), NATSAdmin: deps.NATSURL, Postgres: deps.DatabaseURL, Analyzer: analyzerURL(at, vars),
		S3: deps.S3Endpoint, S3Region: deps.S3Region, S3Bucket: harness.Bucket, S3AccessKey: deps.S3AccessKey, S3SecretKey: deps.S3SecretKey,
		Principal: vars[harness.Tracker]["PRINCIPAL_SECRET"],
	}.Write(dir)
}

// operatorURL returns the URL of NATS with the credentials of sorictl.
func operatorURL(natsURL string) string {
	as := harness.AsUser(withNamespace(map[string]string{"NATS_URL": natsURL}), natsauth.Operator)
	return withUser(natsURL, url.UserPassword(as["NATS_USER"], as["NATS_PASSWORD"]))
}

// withoutUser returns a URL for the screen, without credentials.
func withoutUser(raw string) string { return withUser(raw, nil) }

func withUser(raw string, user *url.Userinfo) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "" // the runner's own URLs are valid
	}
	u.User = user
	return u.String()
}

// analyzerURL returns the URL of the analysis server that is in use: the reference server, or the one in
// TARGET_SERVER_URL.
func analyzerURL(at harness.Layout, vars map[string]map[string]string) string {
	if target := vars[harness.Dispatcher][targetSetting]; !strings.HasPrefix(target, at.URL(harness.Analyzer, 0)+"/") {
		return target
	}
	return at.URL(harness.Analyzer, 0)
}

// analyzerIs returns a description of the analysis server for the screen.
func analyzerIs(at harness.Layout, vars map[string]map[string]string) string {
	if analyzerURL(at, vars) == at.URL(harness.Analyzer, 0) {
		return "the reference analysis server"
	}
	return "the analysis server of " + targetSetting
}

// writeEnv writes KEY=VALUE lines, which shells and Docker Compose read in the same way.
func writeEnv(file string, vars map[string]string) error {
	lines := make([]string, 0, len(vars))
	for name, value := range vars {
		lines = append(lines, name+"="+value)
	}
	slices.Sort(lines)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// sampleToken returns the id of a token for first uploads. It creates one if the
// catalogue is empty.
func sampleToken(ctx context.Context, api *client.Client) (int64, error) {
	var list []struct {
		ID int64 `json:"id"`
	}
	if _, err := api.Do(ctx, client.Request{Path: "/tokens/?limit=1", Into: &list}); err != nil {
		return 0, err
	}
	if len(list) > 0 {
		return list[0].ID, nil
	}
	return api.CreateToken(ctx, "sample")
}

// printScreen prints the addresses and the commands to try next, on one screen.
func printScreen(w io.Writer, dir string, deps stack.Endpoints, at harness.Layout, vars map[string]map[string]string, token int64, auth *auth) {
	flagDir := dirFlag(dir)
	fmt.Fprintf(w, `
Sori is running. Ctrl-C stops it; its data is kept in %[1]s.

  gateway     %[2]s        the API, and the console in a browser
  tracker     %[3]s
  dispatcher  %[4]s
  uploader    %[5]s
  analyzer    %[6]s        %[13]s
  nats        %[7]s
  s3          %[8]s        bucket %[9]s
  postgres    see %[10]s

%[14]s
Upload a recording and follow its job:

  job=$(curl -s%[15]s -F file=@recording.wav %[2]s/tokens/%[11]d/upload-audio | sed 's/.*"job_id":"\([^"]*\).*/\1/')
  curl -N%[15]s %[2]s/tokens/analysis-progress/$job

Print the events, in another terminal:

  go run ./infra/local tail%[12]s                   (or: nats -s URL sub 'audio.>', with the URL of nats in %[10]s)

`, dir, gatewayURL(at), at.URL(harness.Tracker, 0), at.URL(harness.Dispatcher, 0), at.URL(harness.Uploader, 0), analyzerURL(at, vars),
		withoutUser(deps.NATSURL), deps.S3Endpoint, harness.Bucket, filepath.Join(dir, command.File), token, flagDir, analyzerIs(at, vars), auth.screen(), auth.curlFlag())
}

// printDeps prints the commands that run the services by hand.
func printDeps(w io.Writer, dir string, deps stack.Endpoints, at harness.Layout, vars map[string]map[string]string) {
	fmt.Fprintf(w, `
The dependencies of the services are running. Ctrl-C stops them; their data is kept in %[1]s.

  nats        %[2]s
  s3          %[3]s        bucket %[4]s
  postgres    see %[5]s
  analyzer    %[6]s

Run each service with its settings in a terminal of its own:

  env $(cat %[1]s/gateway.env) go run ./services/gateway         answers at %[7]s
  env $(cat %[1]s/uploader.env) go run ./services/uploader
  env $(cat %[1]s/dispatcher.env) go run ./services/dispatcher
  env $(cat %[1]s/tracker.env) go run ./services/tracker

`, dir, withoutUser(deps.NATSURL), deps.S3Endpoint, harness.Bucket, filepath.Join(dir, command.File), analyzerURL(at, vars), at.URL(harness.Gateway, 0))
}

// dirFlag returns the flag with which another command finds this folder; "" for the default folder.
func dirFlag(dir string) string {
	if here, err := filepath.Abs(".sori"); err == nil && here == dir {
		return ""
	}
	return " -dir " + dir
}
