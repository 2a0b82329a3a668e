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
// On a bus with users, [protocol.InstanceRights] are what an instance of a service needs: golive
// bus config gives them. It can neither write a route nor answer for another service, and hears
// nobody's answers but its own. Each user has a prefix of its own for its inboxes (Config.Inbox).
// Streams need nothing further, on either side.
//
// A service with a State needs [protocol.StateRights], too. Only orchestrators may publish there:
// whoever may gets the state, and can replace it.
//
// # Without this package
//
// How a program in any language sends and receives streams, and takes part in a cutover,
// stands in the contract: relay/protocol/README.md.
package relay
