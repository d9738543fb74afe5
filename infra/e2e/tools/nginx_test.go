//go:build tools

package tools_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/stack/proc"
	"sori.internal/shared/testkit"
)

// run runs a program in a folder.
func run(dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// body returns the body of the gateway's answer for a path.
func body(t *testing.T, w *harnesstest.Env, path string) string {
	t.Helper()
	_, text := harnesstest.Send(t, w.Client, http.MethodGet, w.Gateway+path)
	return text
}

// nginxConfig publishes the gateway under /sori/, as in the gateway's README. The first
// verb is for a user, the others are for the folder, the address and the gateway.
const nginxConfig = `%[1]s
daemon off;
pid %[2]s/pid;
error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path %[2]s; proxy_temp_path %[2]s; fastcgi_temp_path %[2]s; uwsgi_temp_path %[2]s; scgi_temp_path %[2]s;
  server {
    listen %[3]s;
    location /sori/ {
      proxy_pass %[4]s;
      proxy_http_version 1.1;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      %[5]s
      proxy_request_buffering off;
      client_max_body_size 0;
      proxy_read_timeout 90s;
    }
  }
}
`

// nginx starts nginx as a reverse proxy of a gateway, and returns the URL of nginx. If
// the parameter cut is true, nginx removes the prefix /sori from paths and sends it in a
// header; otherwise it forwards the whole path.
func nginx(t *testing.T, gateway string, cut bool) string {
	t.Helper()
	dir := t.TempDir()
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	addr := proc.Address(ports[0])
	user, prefix := "", ""
	if os.Geteuid() == 0 {
		user = "user root;" // nginx must run as root, because the test's folder belongs to root
	}
	if cut {
		gateway, prefix = gateway+"/", "proxy_set_header X-Forwarded-Prefix /sori;"
	}
	file := filepath.Join(dir, "nginx.conf")
	write(t, file, fmt.Appendf(nil, nginxConfig, user, dir, addr, gateway, prefix))
	cmd := exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("nginx ended with %v", err)
		}
	})
	testkit.Eventually(t, func() error {
		resp, err := http.Get("http://" + addr + "/sori/livez")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("livez: %s", resp.Status)
		}
		return nil
	})
	return "http://" + addr
}

func TestPagesUseTheAPIThroughNginx(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]bool{"with the prefix cut off": true, "with the prefix passed on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := serveFrontend(t)
			settings := crossOrigin(home)
			maps.Copy(settings, withConsole(t))
			settings["TRUSTED_PROXIES"] = "loopback"
			if !cut {
				settings["BASE_PATH"] = "/sori"
			}
			w := harnesstest.Start(t, harnesstest.Options{Settings: settings, Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Second)}})
			front := nginx(t, strings.TrimSuffix(w.Gateway, "/sori"), cut)
			public := front + "/sori"
			s := checkAPI(t, openPage(t, home), w, public)
			if s.Location != public+"/tokens/analysis-result/"+s.Job || !strings.HasPrefix(s.Link, "<"+public+"/tokens/?") {
				t.Errorf("Location is %s, Link is %s", s.Location, s.Link)
			}
			checkOwnPages(t, public)
		})
	}
}

// checkOwnPages checks that the console and the documentation work under a prefix.
func checkOwnPages(t *testing.T, public string) {
	t.Helper()
	v := arrive(t, public)
	v.gives(speechFile(t))
	v.presses("Analyse recording")
	v.reads("Analysis complete")
	checkPlayback(t, v)
	v.do(chromedp.Navigate(public + "/docs"))
	v.sees("document.querySelectorAll('.opblock').length > 0")
	if got := v.tries("getResult"); got != "200" {
		t.Errorf("the example of getResult is answered with %s", got)
	}
	if got := v.tries("createActor"); got != "201" {
		t.Errorf("the example of createActor is answered with %s", got)
	}
}
