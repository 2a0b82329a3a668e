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
// than these (nats-server.conf; tried with 2.15.3):
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
// # Without this package
//
// How a program in any language sends and receives streams, and takes part in a cutover,
// stands in the contract: relay/protocol/README.md.
package relay
