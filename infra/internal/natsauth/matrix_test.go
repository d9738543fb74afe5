package natsauth_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.yaml.in/yaml/v3"

	"sori.internal/infra/internal/natsauth"
	"sori.internal/infra/internal/provision"
	"sori.internal/shared/apispec"
	"sori.internal/shared/event"
)

const password = "password-of-the-test"

// TestMain sets the passwords that the configuration file reads from the environment.
func TestMain(m *testing.M) {
	for _, name := range append(natsauth.Names(), "sys") {
		if err := os.Setenv(passwordVariable(name), password); err != nil {
			panic(err)
		}
	}
	m.Run()
}

// serve starts a NATS server with the configuration of docker-compose.yml.
func serve(t *testing.T) string {
	t.Helper()
	opts, err := server.ProcessConfigFile("../../nats/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.HTTPPort, opts.StoreDir, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, 0, t.TempDir(), true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s.ClientURL()
}

func connect(t *testing.T, url, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo(user, password), nats.Timeout(time.Minute), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// mayPublish reports whether the server lets a client publish to a subject.
func mayPublish(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	if err := nc.Publish(subject, nil); err != nil {
		t.Fatal(err)
	}
	return allowed(t, nc, subject)
}

// maySubscribe reports whether the server lets a client subscribe to a subject.
func maySubscribe(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	return allowed(t, nc, subject)
}

// allowed reports whether the last violation, which arrives before the response to the flush, is
// about another subject.
func allowed(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	if err := nc.FlushTimeout(time.Minute); err != nil {
		t.Fatal(err)
	}
	err := nc.LastError()
	return err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", subject))
}

// calls are requests with the users who may make them. The server denies them to all other users.
func calls() map[string]string {
	const all = "gateway uploader dispatcher tracker sorictl"
	table := map[string]string{
		"$JS.API.STREAM.INFO.AUDIO_JOBS": all, "$JS.API.STREAM.INFO.AUDIO_STAGING": all,
		"$JS.API.STREAM.INFO.AUDIO_TOKENS": "gateway tracker sorictl", "$JS.API.STREAM.INFO.AUDIO_DEAD": "uploader dispatcher tracker sorictl",
		"$JS.API.STREAM.INFO.AUDIO_QUEUE": "dispatcher sorictl", "$JS.API.STREAM.MSG.GET.AUDIO_QUEUE": "dispatcher",
		"$JS.API.STREAM.MSG.DELETE.AUDIO_QUEUE": "dispatcher", "$JS.API.STREAM.PURGE.AUDIO_QUEUE": "", "$JS.API.DIRECT.GET.AUDIO_QUEUE": "",
		"$JS.API.CONSUMER.CREATE.AUDIO_QUEUE.x": "", "queue.1": "dispatcher",
		"$JS.API.STREAM.INFO.KV_ANALYSIS_SLOTS": "dispatcher sorictl", "$JS.API.STREAM.INFO.KV_ANALYSIS_STATUS": "dispatcher sorictl",
		"$JS.API.STREAM.INFO.OTHER": "", "$JS.API.STREAM.NAMES": "", "$JS.API.STREAM.LIST": "", "$JS.API.INFO": "sorictl",

		"$JS.API.STREAM.PURGE.AUDIO_JOBS": "uploader", "$JS.API.STREAM.PURGE.AUDIO_TOKENS": "", "$JS.API.STREAM.PURGE.AUDIO_DEAD": "",
		"$JS.API.STREAM.PURGE.AUDIO_STAGING": "gateway uploader dispatcher tracker", "$JS.API.STREAM.PURGE.KV_ANALYSIS_SLOTS": "",
		"$JS.API.STREAM.MSG.DELETE.AUDIO_DEAD": "uploader sorictl", "$JS.API.STREAM.MSG.DELETE.AUDIO_JOBS": "",
		"$JS.API.STREAM.MSG.DELETE.AUDIO_TOKENS": "", "$JS.API.STREAM.MSG.DELETE.AUDIO_STAGING": "",
		"$JS.API.STREAM.MSG.GET.AUDIO_JOBS": all, "$JS.API.STREAM.MSG.GET.AUDIO_DEAD": "uploader sorictl",
		"$JS.API.STREAM.MSG.GET.AUDIO_STAGING": "uploader tracker", "$JS.API.STREAM.MSG.GET.AUDIO_TOKENS": "sorictl",
		"$JS.API.DIRECT.GET.AUDIO_JOBS": all, "$JS.API.DIRECT.GET.AUDIO_JOBS.audio.jobs.1.received": all,
		"$JS.API.DIRECT.GET.AUDIO_STAGING.staging.1.0": "uploader tracker", "$JS.API.DIRECT.GET.AUDIO_STAGING": "",
		"$JS.API.DIRECT.GET.AUDIO_DEAD": "uploader sorictl", "$JS.API.DIRECT.GET.AUDIO_TOKENS": "tracker sorictl",
		"$JS.API.DIRECT.GET.KV_ANALYSIS_SLOTS.$KV.ANALYSIS_SLOTS.slot.1": "dispatcher",
		"$KV.ANALYSIS_SLOTS.slot.1":                                      "dispatcher", "$KV.ANALYSIS_STATUS.x": "dispatcher", "$KV.OTHER.x": "",

		"$JS.API.CONSUMER.CREATE.AUDIO_JOBS.uploader-received.audio.jobs.*.received": "sorictl",
		"$JS.API.CONSUMER.CREATE.AUDIO_JOBS.x":                                       "sorictl", "$JS.API.CONSUMER.CREATE.AUDIO_DEAD.x.audio.dead.>": "sorictl",
		"$JS.API.CONSUMER.CREATE.AUDIO_STAGING.x": "", "$JS.API.CONSUMER.CREATE.AUDIO_STAGING": "", "$JS.API.CONSUMER.CREATE.AUDIO_JOBS": "",
		"$JS.API.CONSUMER.DURABLE.CREATE.AUDIO_JOBS.uploader-received": "", "$JS.API.CONSUMER.LIST.AUDIO_JOBS": "", "$JS.API.CONSUMER.NAMES.AUDIO_JOBS": "",
		"$JS.API.CONSUMER.MSG.NEXT.AUDIO_JOBS.x": "sorictl", "$JS.API.CONSUMER.DELETE.AUDIO_JOBS.x": "sorictl",
		"$JS.API.CONSUMER.PAUSE.AUDIO_JOBS.uploader-received": "", "$JS.API.CONSUMER.LEADER.STEPDOWN.AUDIO_JOBS.uploader-received": "",
		"$JS.API.SERVER.REMOVE": "", "$JS.API.META.LEADER.STEPDOWN": "", "$JS.API.ACCOUNT.PURGE.$G": "",

		"audio.replay.uploader-received": "sorictl", "audio.live.1": "tracker", "staging.1.0": "gateway dispatcher", "limits.usage": "gateway", "other": "",
		"_INBOX.sorictl.x": "uploader dispatcher tracker", "_INBOX.gateway.x": "", "$SYS.REQ.SERVER.PING": "", "$SYS.REQ.USER.INFO": "",
	}
	for _, stream := range []string{"AUDIO_JOBS", "AUDIO_TOKENS", "AUDIO_DEAD", "AUDIO_STAGING", "AUDIO_QUEUE", "KV_ANALYSIS_SLOTS", "KV_ANALYSIS_STATUS", "OTHER"} {
		for request, who := range map[string]string{
			"CREATE": "sorictl", "UPDATE": "sorictl", "DELETE": "", "SNAPSHOT": "", "RESTORE": "", "LEADER.STEPDOWN": "", "PEER.REMOVE": "",
		} {
			if stream == "OTHER" {
				who = ""
			}
			table["$JS.API.STREAM."+request+"."+stream] = who
		}
	}
	for _, c := range provision.Resources().Consumers {
		service, _, _ := strings.Cut(c.Name, "-")
		stream := c.Stream.Name
		if stream == "" {
			stream = event.Jobs().Name
		}
		table["$JS.API.CONSUMER.INFO."+stream+"."+c.Name] = service + " sorictl"
		table["$JS.API.CONSUMER.MSG.NEXT."+stream+"."+c.Name] = service
		table["$JS.ACK."+stream+"."+c.Name+".1.1.1.1.1"] = service
		table["$JS.API.CONSUMER.DELETE."+stream+"."+c.Name] = ""
		table["audio.dead."+c.Name] = service
	}
	return table
}

func TestEachUserMayMakeItsRequestsAndNoOthers(t *testing.T) {
	t.Parallel()
	url := serve(t)
	for _, name := range natsauth.Names() {
		nc := connect(t, url, name)
		for subject, who := range calls() {
			want := slices.Contains(strings.Fields(who), name)
			if got := mayPublish(t, nc, subject); got != want {
				t.Errorf("%s may publish to %s: %v, want %v", name, subject, got, want)
			}
		}
	}
}

func TestEachUserReceivesItsMessagesAndNoOthers(t *testing.T) {
	t.Parallel()
	url := serve(t)
	table := map[string]string{
		">": "", "audio.>": "sorictl", "audio.jobs.>": "sorictl", "audio.jobs.*.completed": "sorictl", "audio.live.1": "tracker sorictl",
		"audio.live.*": "tracker sorictl", "audio.live.>": "tracker sorictl", "audio.dead.>": "sorictl", "staging.>": "", "staging.1.0": "",
		"limits.usage": "gateway", "limits.*": "", "limits.>": "",
		"_INBOX.>": "", "$JS.>": "", "$JS.API.>": "", "$JS.ACK.>": "", "$JS.EVENT.>": "", "$KV.>": "", "$SYS.>": "",
	}
	for _, name := range natsauth.Names() {
		table["_INBOX."+name+".>"] = name
	}
	for _, c := range provision.Resources().Consumers {
		service, _, _ := strings.Cut(c.Name, "-")
		table["audio.replay."+c.Name] = service + " sorictl"
	}
	for _, name := range natsauth.Names() {
		nc := connect(t, url, name)
		for subject, who := range table {
			want := slices.Contains(strings.Fields(who), name)
			if got := maySubscribe(t, nc, subject); got != want {
				t.Errorf("%s may subscribe to %s: %v, want %v", name, subject, got, want)
			}
		}
	}
}

// TestAServicePublishesWhatTheDocumentSays compares the permissions with the operations of
// asyncapi.yaml, both ways.
func TestAServicePublishesWhatTheDocumentSays(t *testing.T) {
	t.Parallel()
	var document struct {
		Channels   map[string]struct{ Address string }
		Operations map[string]struct {
			Action string
			Tags   []struct{ Name string }
		}
	}
	if err := yaml.Unmarshal(apispec.AsyncAPI(), &document); err != nil {
		t.Fatal(err)
	}
	url := serve(t)
	parameter := regexp.MustCompile(`\{\w+\}`)
	for _, name := range natsauth.Names() {
		nc := connect(t, url, name)
		for channel, c := range document.Channels {
			if c.Address == "" { // a response
				continue
			}
			consumer := "1"
			for _, r := range provision.Resources().Consumers {
				if strings.HasPrefix(r.Name, name+"-") {
					consumer = r.Name
				}
			}
			_, sends := document.Operations[name+".sends."+channel]
			_, requests := document.Operations["operator.requests."+channel]
			want := sends || requests && name == natsauth.Operator
			subject := parameter.ReplaceAllString(c.Address, consumer)
			if got := mayPublish(t, nc, subject); got != want {
				t.Errorf("%s may publish %s: %v, the document says %v", name, subject, got, want)
			}
		}
	}
}

func TestNobodyConnectsWithoutTheRightPassword(t *testing.T) {
	t.Parallel()
	url := serve(t)
	for what, option := range map[string]nats.Option{
		"nobody": nats.Name("x"), "a wrong password": nats.UserInfo("gateway", "wrong"), "no password": nats.UserInfo("gateway", ""),
		"an unknown user": nats.UserInfo("admin", password), "another's password variable": nats.UserInfo("gateway", "$NATS_GATEWAY_PASSWORD"),
	} {
		if nc, err := nats.Connect(url, option); err == nil {
			nc.Close()
			t.Errorf("%s connects", what)
		}
	}
}

func TestTheSystemAccountIsForItsOwnUser(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t), "sys")
	if _, err := nc.Request("$SYS.REQ.SERVER.PING", nil, time.Minute); err != nil {
		t.Error(err)
	}
	if !maySubscribe(t, nc, "$SYS.>") {
		t.Error("sys may not watch the server")
	}
	if reply, err := nc.Request("$JS.API.STREAM.NAMES", nil, time.Minute); err == nil && !strings.Contains(string(reply.Data), "not enabled for account") {
		t.Errorf("sys reaches the streams: %s", reply.Data)
	}
}

func TestAUserOfAnotherNamespaceMayNothingInThisOne(t *testing.T) {
	t.Parallel()
	for _, name := range natsauth.Names() {
		u, ok := natsauth.Find("other", name)
		if !ok {
			t.Fatal(name)
		}
		for _, subject := range slices.Concat(u.Publish, u.Subscribe) {
			if !strings.Contains(subject, "other") && subject != "$JS.API.INFO" {
				t.Errorf("%s: %s is not limited to its namespace", name, subject)
			}
		}
	}
}
