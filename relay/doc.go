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
// A request can also be answered by a stream of records ([Relay.Stream], [StreamHandler]):
// as many as there are, no faster than the receiver looks at them, ended by either side,
// and taken up again behind any record ([After]) when the sender has died or has lost
// production traffic ([ErrStreamLost]).
//
// # Permissions
//
// On a bus with permissions, an instance of the service web that calls todos needs no more
// than these (nats-server.conf; tried with 2.15.2):
//
//	publish: [
//	  "$KV.golive-leases.web.>", "golive.confirm.web.*", "golive.service.web.>", "web.>",
//	  "$JS.API.STREAM.INFO.KV_golive-routes", "$JS.API.STREAM.MSG.GET.KV_golive-routes",
//	  "$JS.API.CONSUMER.CREATE.KV_golive-routes.*.$KV.golive-routes.web",
//	  "$JS.API.CONSUMER.DELETE.KV_golive-routes.*", "$JS.FC.KV_golive-routes.>",
//	  "todos.>" ]
//	subscribe: [ "_INBOX.>", "golive.service.web.> web", "web.> web", "$SRV.>" ]
//	allow_responses: { max: 5, expires: "1m" }
//
// It can neither write a route nor answer for another service. Each time that a request
// comes to a connection counts as a response, and in two cutovers that follow each other
// closely one may come back: with max 1 it could not be answered then (seen). Responses
// have to expire later than the longest request takes, and than one may be held.
//
// With streams, either side answers the other all the time:
//
//	allow_responses: { max: 256, expires: "1m" }
//
// for those who send them and for those who receive them, with no further subject. It is
// enough for streams of any length, because each side is given a new reply subject again
// and again.
//
// # Streams
//
// This is the protocol of a stream, for either side that is written without this package.
//
// Request. The receiver subscribes to an inbox of its own, _INBOX.<unique>.*, and publishes
// an ordinary request, with a reply subject in that inbox and the headers
//
//	Golive-Stream: 1048576      its window: how many bytes may be under way
//	Golive-Cursor: <cursor>     only when taken up again: of the record to go on behind
//
// A cursor has no line break in it, and no space around it, because it comes in a header.
//
// Until it is answered, all is as with any request: it is held, forwarded and refused with
// its headers (see below), NATS tells with Status 503 when nobody listens, and an answer
// without the header Golive-Stream is either an error or no stream.
//
// Answers. The sender subscribes to an inbox of its own, too, and publishes to the reply
// subject, each message with a reply subject in that inbox, the control subject, and with
// the header Golive-Stream. That is the decimal number, from 1, of the newest batch that
// was sent: this one if there is a payload, else the one before. So a message without
// payload is a sign of life: 0 batches, the first of all, is sent as soon as the request
// is taken, before its handler does anything. A receiver that finds another number than it
// has counted itself has lost messages, and with them the stream. Other headers are
//
//	Golive-Total: 4711          now and then: how many records there are, whatever the cursor
//	Golive-Stream-End: done     of the last message, which has no payload: that were all
//	Golive-Stream-End: failed   the handler failed, with Nats-Service-Error and -Code
//	Golive-Stream-End: lost     it cannot be sent to its end from here, but may be taken up
//	                            again; the reason is in Nats-Service-Error and -Code
//
// The payload of a batch is one record after the other, each as
//
//	uvarint(length of cursor) cursor uvarint(length of data) data
//
// with lengths of 7 bits a byte, lowest first, the high bit set in all but the last (as in
// protocol buffers). An empty cursor is none. This package fills a batch to 32 KiB, and
// sends what it has 5 ms after the first record came; a larger record travels alone. Of
// NATS's payload limit, 128 bytes are kept for headers: what does not fit into the rest is
// refused with code 413 before it is sent.
//
// Credit. The receiver publishes to the newest control subject, with a new reply subject
// in its inbox, how much it has looked at since the beginning of the stream, in decimal.
// A batch counts as the length of its payload, and as 8,192 at least. It does so
//
//   - when a quarter of the window was looked at since it last did;
//   - when it has nothing left to look at, a sign of life has come, and it has looked at
//     something since;
//   - every second in any case.
//
// The sender publishes to the newest reply subject, and lets no more than the window be
// under way: sent, and not looked at. One batch may always be, whatever its size. When there
// is no room it sends a sign of life, and waits. Since credit is counted from the beginning,
// one that is lost does no harm. Whatever else comes to a control subject is no credit, no
// sign of life and no new reply subject: a negative number, one of more than was sent, what
// is no number at all. A receiver that is sent more than its window cancels, and has lost
// the stream. No batch is published while the connection is lost: those of many streams
// would fill the memory that the client keeps for what is to be sent then.
//
// Cancel. The receiver publishes "cancel" to the control subject, unsubscribes, and is done.
//
// Death. The sender gives a sign of life every second. When either process is gone, the
// other's next message is answered by NATS with Status 503, on the reply subject that it
// has: the stream is over. So it is when nothing was heard of the other side for 15
// seconds. A receiver that has got the end gives no more credit, and minds no 503.
//
// Traffic. At most [MaxStreams] are sent by an instance at once; the next is answered with
// 503. A stream that was asked for at the private address, and not forwarded there, is
// sent whatever the route says. Every other one is production: before each message of it,
// but for one that ends it as lost, the instance looks whether its version is online and
// its lease has not run out, and counts it as a request that is being answered until it
// was published. If it may not answer, it sends instead the end "lost" with code 503. It does
// so at once when its role ends or its lease runs out, and with all streams when it is
// told to stop: nobody who moves traffic waits for a stream.
//
// # Taking part in a cutover
//
// This is the gate's protocol, for an instance that is written without this package, in
// whatever language. The gate moves traffic by writing revisions of the service's route
// and waiting, after each, for every live instance to confirm it. An instance has a
// version, and an id of its own for each run: letters and digits, such as a UUID
// without hyphens. <encoded version> is the version with "_" for "." and "=" for "+".
// <message> may have up to four tokens, joined by dots. Fields of JSON that are not named
// here are to be ignored.
//
// Private address. From its start to its end the instance listens on
//
//	golive.service.<service>.<encoded version>.<message>      queue group <service>
//
// Lease. Before all else the instance publishes its lease, and again every 5 seconds:
//
//	subject  $KV.golive-leases.<service>.<encoded version>.<id>
//	header   Nats-TTL: 20s
//	payload  {"version": "0.0.2", "host": "web-1", "pid": 4711}    host and pid optional
//
// as a NATS request: the lease counts once JetStream has answered {"stream": …, "seq": …}.
// The buckets are made by the orchestrator; until then nobody answers, and the instance
// tries again every half second. It may answer production requests until 19 s after it
// sent the newest lease that counts, by its own clock, a second less than the server waits,
// and looks at that clock before each such request and before each answer to one. Monotonic clocks stand still while a machine is
// suspended, so either that clock counts suspension (CLOCK_BOOTTIME) or the wall clock has
// to agree. Another time than 20 s will do.
//
// When that time is over, the instance holds production requests, publishes its lease,
// reads the route, and only then looks again at what it holds, by the route as it is now,
// even if it is the same revision. A request that a handler had when the time was over is
// answered only after that, also if the handler ends later: as the handler says if the own
// version is online then, without maintenance; else with an error. So a process that was
// stopped for a while and is woken up does no harm.
//
// Route. Only after its first lease does the instance read its route: a request to
// $JS.API.STREAM.MSG.GET.KV_golive-routes with {"last_by_subj": "$KV.golive-routes.<service>"},
// which the stream's leader answers with message.seq, the revision, and message.data, in
// base64:
//
//	{"service": "todos", "rollout": "0199c6d2-…", "sequence": 12,
//	 "versions": [{"version": "0.0.1", "state": "fenced"}, {"version": "0.0.2", "state": "standby"}],
//	 "maintenance": {"since": "2026-11-20T10:15:00Z", "retryAfterSeconds": 5}}
//
// A state is standby, online, fenced or draining; a version that is not listed is offline.
// There may be no maintenance. The order of versions counts. An error.code of 404 is a
// route that lists nothing, at revision 0; any other error is no answer. A route that
// cannot be read changes nothing.
//
// It then watches the subject with an ordered consumer, reads it again every 2 seconds and
// after each reconnect, because a watcher may be blind, and never goes back to an earlier
// revision than the one it acts on. (Whoever makes the bucket anew has to start all
// instances anew.)
//
// Production. While the route lists its version as standby, fenced or online, and for
// 200 ms after that, the instance listens on
//
//	<service>.<message>      queue group <service>
//
// A message that comes to the private address without the header Golive-Forwarded is
// answered whatever the route says, and whatever the lease. Every other one is a production
// request. Until the first route was read, and while there is no lease, it is held. Else
// the first line that fits decides:
//
//	own version is online, no "maintenance"             answered
//	it was forwarded under a later revision than ours   held: this instance is behind
//	the route has "maintenance"                         answered at once with an empty message
//	                                                    and the headers Nats-Service-Error-Code: 503,
//	                                                    Golive-Reason: maintenance,
//	                                                    Golive-Retry-After: <its retryAfterSeconds>,
//	                                                    Nats-Service-Error: <a text for people>
//	own version is fenced                               held
//	a version is online; forwarded under our revision   held
//	a version is online                                 forwarded to the first one that is
//	own version is standby                              held
//	else                                                answered in the same way with 503 and
//	                                                    Golive-Reason: no-version
//
// Callers know either answer by Golive-Reason alone; the text may be any. No handler has
// seen the request then. So what a handler answers never carries that header, even when it
// passes on an error that it has got from another service.
//
// What a handler answers is up to the service; on the relay it is JSON, and a failure is an
// empty message with the headers Nats-Service-Error-Code, 500 unless the handler chose
// another, and Nats-Service-Error, its text on one line. A request without a reply subject
// gets no answer and no 503.
//
// To forward a request is to publish it to the private address of the other version, with
// its reply subject, its payload and its headers, and with Golive-Forwarded: <revision that
// the instance acts on>, in decimal. To hold a request is to keep it until the instance
// acts on another revision, or has read its route after a lease, and then to look again;
// no longer than a minute, and no more than 65,536 of them: what exceeds that is answered
// with 503 and a text that says so.
//
// Confirmation. The instance publishes to golive.confirm.<service>.<id>
//
//	{"revision": 12, "state": "fenced", "version": "0.0.2"}
//
// with the state of its version in the route, also under maintenance, once it acts on a
// revision and has nothing left to do for it, which means:
//
//   - on the way to standby, fenced or online: it has subscribed, and the server has
//     answered a PING after that;
//   - while it does not answer, also because of maintenance: each production request that
//     it had begun to answer has been answered;
//   - on the way out (draining, offline): it has forwarded for 200 ms, has unsubscribed, the
//     server has answered a PING after that, and what had come before has been forwarded.
//     (Many clients throw away what has been delivered when they unsubscribe: drain instead.)
//
// The 200 ms are for servers that chose the receiver of a request a moment ago, or have not
// heard of the new version's subscription yet. A confirmation is repeated every 2 seconds,
// since one may be lost; revision 0 is confirmed as well; one of an instance without a
// lease counts for nothing.
//
// Leaving. An instance that stops drains its subscriptions, answers what it has, renewing
// its lease meanwhile and confirming nothing, publishes what it holds to
// <service>.<message> again for another to take (without Golive-Forwarded), confirms with
// the state "left", and publishes its lease a last time with Nats-TTL: 1s. One that is
// killed is waited for until its lease has run out.
package relay
