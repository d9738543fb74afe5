package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"sori.internal/infra/internal/connect"
	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
)

// writeEndpoints tells other programs where everything is, until remove is called.
func writeEndpoints(dir string, deps stack.Endpoints, at fleet.Layout, vars map[string]map[string]string) (remove func(), err error) {
	return connect.Endpoints{
		Gateway: at.URL(fleet.Gateway, 0), Uploader: at.URL(fleet.Uploader, 0), Dispatcher: at.URL(fleet.Dispatcher, 0), Tracker: at.URL(fleet.Tracker, 0),
		NATS: deps.NATSURL, Postgres: deps.DatabaseURL, Analyzer: analyzerURL(at, vars),
		S3: deps.S3Endpoint, S3Region: deps.S3Region, S3Bucket: fleet.Bucket, S3AccessKey: deps.S3AccessKey, S3SecretKey: deps.S3SecretKey,
	}.Write(dir)
}

// analyzerURL is where the analysis server answers: the reference one, or the one that
// the caller named.
func analyzerURL(at fleet.Layout, vars map[string]map[string]string) string {
	if target := vars[fleet.Dispatcher][targetSetting]; !strings.HasPrefix(target, at.URL(fleet.Analyzer, 0)+"/") {
		return target
	}
	return at.URL(fleet.Analyzer, 0)
}

// analyzerIs says which analysis server it is.
func analyzerIs(at fleet.Layout, vars map[string]map[string]string) string {
	if analyzerURL(at, vars) == at.URL(fleet.Analyzer, 0) {
		return "the reference analysis server"
	}
	return "the analysis server of " + targetSetting
}

// writeEnv writes KEY=VALUE lines that a shell and a compose file read alike.
func writeEnv(file string, vars map[string]string) error {
	lines := make([]string, 0, len(vars))
	for name, value := range vars {
		lines = append(lines, name+"="+value)
	}
	sort.Strings(lines)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// sampleToken returns the id of a token to try things with, and makes one where
// the catalogue is empty.
func sampleToken(ctx context.Context, gatewayURL string) (int64, error) {
	var list []struct {
		ID int64 `json:"id"`
	}
	if err := call(ctx, http.MethodGet, gatewayURL+"/tokens/?limit=1", nil, &list); err != nil {
		return 0, err
	}
	if len(list) > 0 {
		return list[0].ID, nil
	}
	var made struct {
		ID int64 `json:"id"`
	}
	err := call(ctx, http.MethodPost, gatewayURL+"/tokens/", map[string]any{
		"token_name": "sample", "actor_name": "sori", "category": "sample", "start_time": 0, "end_time": 10,
	}, &made)
	return made.ID, err
}

func call(ctx context.Context, method, url string, body, answer any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(encoded))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		told, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // as far as it can be had
		return fmt.Errorf("%s %s: status %d: %s", method, url, resp.StatusCode, told)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	return nil
}

// printScreen tells a person what to do next, on one screen.
func printScreen(w io.Writer, dir string, deps stack.Endpoints, at fleet.Layout, vars map[string]map[string]string, token int64) {
	flagDir := dirFlag(dir)
	fmt.Fprintf(w, `
Sori runs. Ctrl-C stops it; its data stays in %[1]s.

  gateway     %[2]s        what clients talk to, and the console in a browser
  tracker     %[3]s
  dispatcher  %[4]s
  uploader    %[5]s
  analyzer    %[6]s        %[13]s
  nats        %[7]s
  s3          %[8]s        bucket %[9]s
  postgres    see %[10]s

Upload a recording and watch it become a result:

  job=$(curl -s -F file=@recording.wav %[2]s/tokens/%[11]d/upload-audio | sed 's/.*"job_id":"\([^"]*\).*/\1/')
  curl -N %[2]s/tokens/analysis-progress/$job

Watch the events, in another terminal:

  go run ./infra/local tail%[12]s                   (or: nats -s %[7]s sub 'audio.>')

`, dir, gatewayURL(at), at.URL(fleet.Tracker, 0), at.URL(fleet.Dispatcher, 0), at.URL(fleet.Uploader, 0), analyzerURL(at, vars),
		deps.NATSURL, deps.S3Endpoint, fleet.Bucket, filepath.Join(dir, connect.File), token, flagDir, analyzerIs(at, vars))
}

// printDeps tells how to run the services by hand.
func printDeps(w io.Writer, dir string, deps stack.Endpoints, at fleet.Layout, vars map[string]map[string]string) {
	fmt.Fprintf(w, `
What the services need runs. Ctrl-C stops it; its data stays in %[1]s.

  nats        %[2]s
  s3          %[3]s        bucket %[4]s
  postgres    see %[5]s
  analyzer    %[6]s

Run a service with its settings, each in a terminal of its own:

  env $(cat %[1]s/gateway.env) go run ./services/gateway         answers at %[7]s
  env $(cat %[1]s/uploader.env) go run ./services/uploader
  env $(cat %[1]s/dispatcher.env) go run ./services/dispatcher
  env $(cat %[1]s/tracker.env) go run ./services/tracker

`, dir, deps.NATSURL, deps.S3Endpoint, fleet.Bucket, filepath.Join(dir, connect.File), analyzerURL(at, vars), at.URL(fleet.Gateway, 0))
}

// dirFlag is what a further command needs to find this folder.
func dirFlag(dir string) string {
	if here, err := filepath.Abs(".sori"); err == nil && here == dir {
		return ""
	}
	return " -dir " + dir
}
