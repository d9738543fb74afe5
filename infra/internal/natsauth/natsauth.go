// Package natsauth defines the users of a NATS server for Sori, and their permissions to publish and
// subscribe. infra/nats/users.conf, the server of the local runner and the tests use it.
//
// A service has the permissions for the messages that shared/apispec/asyncapi.yaml describes, and to
// read the streams. Only sorictl may create or change streams, consumers and buckets. In particular no
// service may create a consumer on the log: the server delivers the messages of a consumer to any
// subject that its creator names, even if the creator may not publish to this subject.
//
// NATS cannot limit the permission to purge to some subjects of a stream. Therefore a service that
// removes entries of staging may purge all of staging. Only the uploader may purge the log of jobs.
package natsauth

import (
	"slices"

	"sori.internal/shared/event"
)

// The names of the users. The user of a service has the name of the service.
const (
	Gateway    = "gateway"
	Uploader   = "uploader"
	Dispatcher = "dispatcher"
	Tracker    = "tracker"
	Operator   = "sorictl"
)

// User is a user of NATS with the subjects that it may use. Subjects that are not listed are denied.
// DenyPublish has precedence over Publish.
type User struct {
	Name        string
	Publish     []string
	DenyPublish []string
	Subscribe   []string
}

// Names returns the names of the users.
func Names() []string { return []string{Gateway, Uploader, Dispatcher, Tracker, Operator} }

// Find returns the user with a name, with the subjects that it may use in a namespace. It returns
// false if there is no such user.
func Find(ns event.Namespace, name string) (User, bool) {
	grant, ok := map[string]func(*rights){
		Gateway: gateway, Uploader: uploader, Dispatcher: dispatcher, Tracker: tracker, Operator: operator,
	}[name]
	if !ok {
		return User{}, false
	}
	r := rights{ns: ns, user: User{Name: name}}
	r.subscribeRaw("_INBOX." + ns.Subject(name) + ".>")
	grant(&r)
	return r.user, true
}

func gateway(r *rights) {
	r.publishEvents(event.NameReceived, event.NameDeleted)
	r.publish(event.LimitsSubject)
	r.subscribe(event.LimitsSubject)
	r.inspect(event.Jobs(), event.Tokens(), event.Staging())
	r.readLog()
	r.stage()
}

func uploader(r *rights) {
	r.publishEvents(event.NameReceived, event.NameStored, event.NameFailed, event.NameFetching, event.NameUploading)
	r.consume(event.Jobs(), uploaderConsumers()...)
	r.inspect(event.Dead(), event.Staging(), event.Uploads())
	r.readLog()
	r.readStaging()
	r.publish(event.AllUploads)
	r.api("STREAM.MSG.GET", event.Uploads(), "")
	r.api("DIRECT.GET", event.Uploads(), "")
	r.api("DIRECT.GET", event.Uploads(), "."+r.ns.Subject(event.AllUploads))
	r.purge(event.Jobs(), event.Staging(), event.Uploads())
	r.api("STREAM.MSG.GET", event.Dead(), "") // to find the dead letters of an erased job
	r.api("DIRECT.GET", event.Dead(), "")
	r.deleteMessages(event.Dead())
}

func dispatcher(r *rights) {
	r.publishEvents(event.NameAttempted, event.NameDispatched, event.NameCompleted, event.NameFailed,
		event.NameProgressed, event.NameWaiting, event.NameRefused, event.NameDiscarded, event.NameGranted)
	r.consume(event.Jobs(), dispatcherConsumers()...)
	r.inspect(event.Dead(), event.Staging())
	r.readLog()
	r.stage() // for results that are too large for an event
	for _, s := range dispatcherStreams() {
		r.inspect(s)
		r.publish(s.Subjects[0])
		r.api("STREAM.MSG.GET", s, "")
		r.deleteMessages(s)
	}
	r.api("DIRECT.GET", event.Results(), "."+r.ns.Subject(event.AllResults))
	r.api("DIRECT.GET", event.Shared(), "")
	r.purge(event.Results(), event.Shared())
	for _, bucket := range buckets() {
		r.inspectStream("KV_" + r.ns.Stream(bucket))
		r.publishRaw("$KV."+r.ns.Stream(bucket)+".>",
			"$JS.API.DIRECT.GET.KV_"+r.ns.Stream(bucket)+".$KV."+r.ns.Stream(bucket)+".>")
	}
}

func tracker(r *rights) {
	r.publishEvents(event.NameLapsed, event.NameFailed, event.NameCanceled, event.NameRetried, event.NameErased,
		event.NameExpired)
	r.publish(event.LiveSubject("*"))
	r.subscribe(event.LiveSubject("*"))
	r.consume(event.Jobs(), projection)
	r.consume(event.Tokens(), deletions)
	r.inspect(event.Dead(), event.Staging())
	r.readLog()
	r.readStaging()
	r.purge(event.Staging()) // to remove results that the tracker has recorded
}

// operator is sorictl: it creates what the services use, reads everything but the staged bodies, has
// events replayed and deletes dead letters.
func operator(r *rights) {
	streams := append([]event.Stream{event.Jobs(), event.Tokens(), event.Dead(), event.Staging(), event.Uploads()}, dispatcherStreams()...)
	r.subscribe("audio.>")
	r.publish(event.ReplaySubject("*"))
	r.readLog()
	r.inspect(streams...)
	r.scan(event.Jobs(), event.Tokens(), event.Dead()) // the permissions of scan also allow to create the durable consumers
	r.leave(event.Jobs(), uploaderConsumers()...)
	r.leave(event.Jobs(), dispatcherConsumers()...)
	r.leave(event.Jobs(), projection)
	r.leave(event.Tokens(), deletions)
	r.deleteMessages(event.Dead())
	r.publishRaw("$JS.API.INFO") // the library requests the server's version before it creates a bucket
	for _, s := range streams {
		r.create(r.ns.Stream(s.Name))
	}
	for _, bucket := range buckets() {
		r.inspectStream("KV_" + r.ns.Stream(bucket))
		r.create("KV_" + r.ns.Stream(bucket))
	}
}

// The durable consumers of the tracker.
const (
	projection = "tracker-projection"
	deletions  = "tracker-deleted"
)

func uploaderConsumers() []string {
	return []string{"uploader-received", "uploader-erased", "uploader-expired", "uploader-fetch"}
}

func dispatcherConsumers() []string {
	return []string{
		"dispatcher-stored", "dispatcher-retried", "dispatcher-lapsed", "dispatcher-granted", "dispatcher-dispatched",
		"dispatcher-refused", "dispatcher-completed", "dispatcher-failed", "dispatcher-canceled", "dispatcher-erased",
	}
}

// dispatcherStreams returns the streams that only the dispatcher uses.
func dispatcherStreams() []event.Stream {
	return []event.Stream{event.Queue(), event.Results(), event.Shared()}
}

// buckets returns the names of the key-value buckets, which the dispatcher uses.
func buckets() []string { return []string{"ANALYSIS_SLOTS", "ANALYSIS_STATUS"} }

// rights collects the subjects of a user.
type rights struct {
	ns   event.Namespace
	user User
}

func (r *rights) publishRaw(subjects ...string) {
	for _, s := range subjects {
		if !slices.Contains(r.user.Publish, s) {
			r.user.Publish = append(r.user.Publish, s)
		}
	}
}

func (r *rights) subscribeRaw(subject string) { r.user.Subscribe = append(r.user.Subscribe, subject) }

func (r *rights) publish(subject string)   { r.publishRaw(r.ns.Subject(subject)) }
func (r *rights) subscribe(subject string) { r.subscribeRaw(r.ns.Subject(subject)) }

// publishEvents allows the user to publish the events with these names.
func (r *rights) publishEvents(names ...event.Name) {
	for _, name := range names {
		r.publish(event.Filter(name))
	}
}

// api allows the user a request to the JetStream API about a stream.
func (r *rights) api(request string, s event.Stream, rest string) {
	r.publishRaw("$JS.API." + request + "." + r.ns.Stream(s.Name) + rest)
}

// inspect allows the user to read the state of streams.
func (r *rights) inspect(streams ...event.Stream) {
	for _, s := range streams {
		r.inspectStream(r.ns.Stream(s.Name))
	}
}

func (r *rights) inspectStream(name string) { r.publishRaw("$JS.API.STREAM.INFO." + name) }

// readLog allows the user to read the logs of jobs.
func (r *rights) readLog() {
	r.inspect(event.Jobs())
	r.api("STREAM.MSG.GET", event.Jobs(), "")
	r.api("DIRECT.GET", event.Jobs(), "")
	r.api("DIRECT.GET", event.Jobs(), "."+r.ns.Subject(event.AllJobs))
	r.api("DIRECT.GET", event.Jobs(), "."+r.ns.Subject(event.AllProgress))
}

// readStaging allows the user to read entries of staging.
func (r *rights) readStaging() {
	r.api("STREAM.MSG.GET", event.Staging(), "")
	r.api("DIRECT.GET", event.Staging(), "."+r.ns.Subject(event.AllStaging))
}

// stage allows the user to write entries of staging, and to remove those that are not needed.
func (r *rights) stage() {
	r.inspect(event.Staging())
	r.publish(event.AllStaging)
	r.purge(event.Staging())
}

func (r *rights) purge(streams ...event.Stream) {
	for _, s := range streams {
		r.api("STREAM.PURGE", s, "")
	}
}

func (r *rights) deleteMessages(s event.Stream) { r.api("STREAM.MSG.DELETE", s, "") }

// consume allows the user to use durable consumers that exist: to pull and settle their messages, to store those that
// are rejected as dead letters, and to serve the operator's requests for a replay.
func (r *rights) consume(s event.Stream, consumers ...string) {
	r.inspect(s)
	r.api("DIRECT.GET", s, "") // a replayed event
	r.publishRaw("_INBOX." + r.ns.Subject(Operator) + ".>")
	for _, c := range consumers {
		r.api("CONSUMER.INFO", s, "."+c)
		r.api("CONSUMER.MSG.NEXT", s, "."+c)
		r.publishRaw("$JS.ACK." + r.ns.Stream(s.Name) + "." + c + ".>")
		r.publish(event.DeadSubject(c))
		r.subscribe(event.ReplaySubject(c))
	}
}

// scan allows the user to read streams with consumers that the reader creates and deletes.
func (r *rights) scan(streams ...event.Stream) {
	for _, s := range streams {
		r.inspect(s)
		r.api("STREAM.MSG.GET", s, "")
		r.api("DIRECT.GET", s, "")
		r.api("CONSUMER.CREATE", s, ".>")
		r.api("CONSUMER.INFO", s, ".*")
		r.api("CONSUMER.MSG.NEXT", s, ".*")
		r.api("CONSUMER.DELETE", s, ".*")
	}
}

// leave denies the user pulling the messages of services' consumers, and deleting these consumers.
func (r *rights) leave(s event.Stream, consumers ...string) {
	for _, c := range consumers {
		for _, request := range []string{"CONSUMER.MSG.NEXT", "CONSUMER.DELETE"} {
			r.user.DenyPublish = append(r.user.DenyPublish, "$JS.API."+request+"."+r.ns.Stream(s.Name)+"."+c)
		}
	}
}

// create allows the user to create and change a stream.
func (r *rights) create(name string) {
	r.publishRaw("$JS.API.STREAM.CREATE."+name, "$JS.API.STREAM.UPDATE."+name)
}
