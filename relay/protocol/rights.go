package protocol

import (
	"slices"
	"strconv"
)

// Rights are the subjects that a user of a bus with users may publish and subscribe, and no other.
// A subscription to a queue group is written "subject queue", as NATS has it. All that the docs of
// golive say of permissions, and golive bus config, is made from the functions that give them.
//
// No rights hold allow_responses: with it a user may publish on whatever subject it can have
// somebody send it a message from. Who answers may publish to inboxes instead, and each user has
// inboxes of its own, see [Inbox], so that nobody reads the answers of others.
type Rights struct {
	Publish, Subscribe []string
}

// With are these rights and others, each once.
func (r Rights) With(others ...Rights) Rights {
	all := Rights{Publish: slices.Clone(r.Publish), Subscribe: slices.Clone(r.Subscribe)}
	add := func(to, more []string) []string {
		for _, subject := range more {
			if !slices.Contains(to, subject) {
				to = append(to, subject)
			}
		}
		return to
	}
	for _, o := range others {
		all.Publish, all.Subscribe = add(all.Publish, o.Publish), add(all.Subscribe, o.Subscribe)
	}
	return all
}

// Inbox is the prefix of a user's inboxes: nobody else may subscribe there.
func Inbox(user string) string { return "_INBOX." + userToken(user) }

// answers lets a user answer, and hear the answers to its own requests.
func answers(user string) Rights {
	return Rights{Publish: []string{"_INBOX.>"}, Subscribe: []string{Inbox(user) + ".>"}}
}

// reads lets a user read the keys of a bucket, from its leader.
func reads(bucket string) Rights { return readsStream("KV_" + bucket) }

func readsStream(stream string) Rights {
	return Rights{Publish: []string{"$JS.API.STREAM.INFO." + stream, "$JS.API.STREAM.MSG.GET." + stream}}
}

// InstanceRights are those of an instance of a service on the relay, which sends requests to some
// services. It can write no route, renew no other service's leases and answer for no other one.
func InstanceRights(user, service string, calls ...string) Rights {
	r := answers(user).With(reads(RoutesBucket), Rights{
		Publish: []string{
			"$KV." + LeasesBucket + "." + service + ".>", "golive.confirm." + service + ".*",
			"golive.service." + service + ".>", service + ".>",
		},
		Subscribe: []string{"golive.service." + service + ".> " + service, service + ".> " + service, "golive.route." + service, "$SRV.>"},
	})
	return r.With(requests(calls))
}

// StateRights let an instance of a service be asked for the state that it keeps itself, by
// orchestrators: nobody else may publish there.
func StateRights(service string) Rights {
	return Rights{Subscribe: []string{"golive.state." + service + ".> " + service}}
}

func requests(services []string) Rights {
	var r Rights
	for _, service := range services {
		r.Publish = append(r.Publish, service+".>")
	}
	return r
}

// BucketRights let a user work with a key-value bucket that is there.
func BucketRights(name string) Rights {
	return stored("KV_" + name).With(Rights{Publish: []string{"$KV." + name + ".>"}})
}

// ObjectRights let a user work with an object store that is there.
func ObjectRights(name string) Rights {
	return stored("OBJ_" + name).With(Rights{Publish: []string{"$O." + name + ".>", "$JS.API.STREAM.PURGE.OBJ_" + name}})
}

// StreamRights let a user read a stream that is there. Which subjects it has, they do not know.
func StreamRights(name string) Rights { return stored(name) }

// stored lets a user read what a stream holds. It can neither make nor change the stream: with
// that a user has the server publish on any subject.
func stored(stream string) Rights {
	return readsStream(stream).With(Rights{Publish: []string{
		"$JS.API.DIRECT.GET." + stream, "$JS.API.DIRECT.GET." + stream + ".>",
		"$JS.API.CONSUMER.CREATE." + stream, "$JS.API.CONSUMER.CREATE." + stream + ".>", "$JS.API.CONSUMER.INFO." + stream + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + stream + ".*", "$JS.API.CONSUMER.DELETE." + stream + ".*",
		"$JS.ACK." + stream + ".>", "$JS.FC." + stream + ".>",
	}})
}

// scripts names all messages of a setup service's versions with a major number: the wildcard of
// NATS is a whole token, and the first point of a version is where one ends.
func scripts(name string, app bool, major uint64) string {
	number := strconv.FormatUint(major, 10)
	if app {
		return name + "-" + number + ".>"
	}
	return "deployment-" + name + "-" + number + ".>"
}

// SetupRights are those of the setup services of a service, or of an app, on the SDK, for its
// versions with some major numbers. Its scripts send requests to services, in production and at
// their private addresses. It can answer for no other setup service.
func SetupRights(user, name string, app bool, majors []uint64, calls ...string) Rights {
	r := answers(user).With(requests(calls),
		reads(ClaimsBucket), reads(CheckpointsBucket), reads(FailedRecordsBucket), reads(RoutesBucket),
		Rights{
			Publish: []string{
				HelloSubject, "golive.log.*", "golive.share." + name + ".>",
				"$KV." + ClaimsBucket + ".*." + name + ".>", "$KV." + CheckpointsBucket + ".*." + name + ".>",
				"$KV." + FailedRecordsBucket + ".*." + name + ".>",
				"$JS.API.CONSUMER.CREATE.KV_" + FailedRecordsBucket + ".>", "$JS.API.CONSUMER.DELETE.KV_" + FailedRecordsBucket + ".*",
				"$JS.FC.KV_" + FailedRecordsBucket + ".>",
			},
			Subscribe: []string{"golive.script." + name + ".>", "golive.share." + name + ".>"},
		})
	for _, service := range calls {
		r.Publish = append(r.Publish, "golive.service."+service+".>")
	}
	for _, major := range majors {
		own := scripts(name, app, major)
		r = r.With(Rights{Publish: []string{own}, Subscribe: []string{own}})
	}
	return r
}

// AgentRights are those of an agent, whose checks send messages to services. It can write no order,
// and no result of another agent; it can read all of the journal.
func AgentRights(user, agent string, checks ...string) Rights {
	r := answers(user).With(readsStream(Stream), reads(AgentsBucket), reads(HostsBucket), reads(TakesBucket), Rights{
		Publish:   []string{"$KV." + AgentsBucket + "." + agent, "$KV." + HostsBucket + ".*.*.*." + agent, "golive.agent." + agent + ".ping"},
		Subscribe: []string{"golive.agent." + agent + ".*"},
	})
	for _, service := range checks {
		r.Publish = append(r.Publish, "golive.service."+service+".>")
	}
	return r
}

// Queries are the commands of the API that change nothing, tell nobody's data, and ask for no name.
var Queries = []string{"plan", "status", "list", "follow", "routes", "ledger", "version", "agents", "hosts", "snapshot-list"}

// ObserverRights are those of somebody who looks, and follows rollouts, and can change nothing.
func ObserverRights(user string) Rights {
	r := answers(user).With(Rights{
		Publish:   []string{"$SYS.REQ.USER.INFO", UserAPISubject("show", user), UserAPISubject("snapshot-show", user), UserAPISubject("snapshot-state", user), UserAPISubject("restore-plan", user)},
		Subscribe: []string{"golive.notice.*.*", "golive.log.*", "golive.rollout.*.*"},
	})
	for _, command := range Queries {
		r.Publish = append(r.Publish, APISubject(command))
	}
	return r
}

// DeployerRights are those of a deployment system, of an observer and what brings a version live:
// it can neither approve, nor abort, nor go backward.
func DeployerRights(user string) Rights {
	return ObserverRights(user).With(Rights{Publish: []string{UserAPISubject("deploy", user), UserAPISubject("retry", user)}})
}

// RehearserRights are those of somebody who rehearses releases: of an observer, and what has a
// snapshot taken, copied and handed out, and the environment told what came of it. Where the
// environment masks, what is handed out is masked.
func RehearserRights(user string) Rights {
	return ObserverRights(user).With(Rights{Publish: []string{
		UserAPISubject("snapshot-take", user), UserAPISubject("snapshot-copy", user), APISubject("snapshot-read"), UserAPISubject("rehearsal-tell", user),
	}})
}

// PersonRights are those of a person who operates the environment: every command, under the own
// name, also those that show records which were put aside, and read snapshots.
func PersonRights(user string) Rights {
	return ObserverRights(user).With(Rights{
		Publish: []string{UserAPISubject("*", user), APISubject("records"), APISubject("snapshot-read")},
	})
}

// ProgressRights let a user hear how far the scripts of a service, or of an app, have come, in its
// versions with a major number.
func ProgressRights(name string, app bool, major uint64) Rights {
	return Rights{Subscribe: []string{scripts(name, app, major)}}
}
