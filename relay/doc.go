// Package relay is the bus client of an app's services and setup services: it
// sends, requests and answers messages named "<service>.<message>" over NATS.
//
// A service is a [Service] value with a handler for each of its messages;
// [Relay.Serve] keeps it on the bus. Each running instance always answers at the
// private address of its version, and answers production requests only while the
// gate's route for the service lists its version as online, so starting a new
// version never gives it traffic. The instance follows its route by itself, confirms
// each revision it acts on, and reads the route anew after every reconnect.
//
// A connection is kept for ever: it is made when the bus comes up and made again
// whenever it is lost. Handlers run concurrently; a panic in one is answered as an
// error. An instance that is told to stop first answers the messages it has taken. The
// package never retries a request, because only the caller knows whether it may be
// done twice; [AwaitMaintenance] is for those that no handler has seen.
//
// # Taking part in a cutover
//
// This is the gate's protocol, for an instance that is written without this package, in
// whatever language. The gate moves traffic by writing revisions of the service's route
// and waiting, after each, for every live instance to confirm it. An instance has a
// version, and an id of its own for each run: letters and digits, such as a UUID
// without hyphens.
//
// Lease. Before all else the instance publishes its lease, and again every 5 seconds:
//
//	subject  $KV.golive-leases.<service>.<encoded version>.<id>
//	header   Nats-TTL: 20s
//	payload  {"version": "0.0.2", "host": "web-1", "pid": 4711}    all but version optional
//
// as a NATS request: the lease counts from when JetStream has answered {"stream": …,
// "seq": …}. (The encoded version has "_" for "." and "=" for "+".) The instance may
// answer production requests until 20 s after it sent the newest lease that was
// acknowledged, by its own monotonic clock, and looks at that clock before each request
// and before each answer. When that time is over, it holds all requests, publishes its
// lease, reads the route, and only then goes on, by the route as it is now. So a process
// that was stopped for a while and is woken up does no harm. Another time than 20 s will
// do, as long as header and clock agree.
//
// Route. Only after its first lease does the instance read its route, the newest message
// of $KV.golive-routes.<service>, from the stream's leader: a request to
// $JS.API.STREAM.MSG.GET.KV_golive-routes with {"last_by_subj": "$KV.golive-routes.<service>"}.
// The message's sequence is the revision; no message and an empty one are a route that
// lists nothing. It then watches the subject with an ordered consumer, reads it again
// every 2 seconds and after each reconnect, because a watcher may be blind, and never
// goes back to an earlier revision than the one it acts on. An unreadable route changes
// nothing.
//
// Subjects. The instance always listens on golive.service.<service>.<encoded
// version>.<message>, and, while the route lists its version as standby, fenced or
// online, on <service>.<message>; on both in the queue group <service>. A message that
// comes to the private subject without the header Golive-Forwarded is answered whatever
// the route says. Every other one is a production request, and its fate depends on the
// route alone:
//
//	the route has "maintenance"     answered at once with an empty message and the headers
//	                                Nats-Service-Error-Code: 503, Nats-Service-Error: under
//	                                maintenance, Golive-Retry-After: <its retryAfterSeconds>
//	own version is online           answered
//	own version is fenced           held
//	any other, a version is online  forwarded to the first version that is online
//	own version is standby          held
//	else                            answered with 503, "no version of the service is online"
//
// To forward a request is to publish it to golive.service.<service>.<encoded version of
// the other>.<message>, with its reply subject, its payload and its headers, and with
// Golive-Forwarded: <revision the instance acts on>. A request that carries this header
// already is forwarded again only if the instance acts on a later revision than the
// header says; else it is held, because it is this instance that is behind. To hold a
// request is to keep it until the instance acts on another revision, and then to look
// again; no longer than a minute, and no more than 65,536 of them, the next being
// answered with 503.
//
// Confirmation. The instance publishes to golive.confirm.<service>.<id>
//
//	{"revision": 12, "state": "fenced", "version": "0.0.2"}
//
// with the state of its version in the route, "offline" if it is not listed, once it acts
// on a revision and has nothing left to do for it, which means:
//
//   - on the way to standby, fenced or online: it has subscribed, and the server has
//     answered a PING after that;
//   - while it does not answer: each production request that it had begun to answer has
//     been answered;
//   - on the way out (draining, offline): it has unsubscribed, the server has answered a
//     PING after that, and what had come before has been forwarded.
//
// It repeats its confirmation every 2 seconds, since one may be lost; a confirmation of
// an instance without a lease counts for nothing.
//
// Leaving. An instance that stops unsubscribes, answers what it has, publishes what it
// holds to <service>.<message> again for another to take (without Golive-Forwarded),
// confirms with the state "left", and publishes its lease once more with Nats-TTL: 1s.
// One that is killed is waited for until its lease has run out.
package relay
