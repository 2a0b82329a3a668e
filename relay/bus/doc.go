// Package bus is how golive's own parts make and open the buckets that they share, ask the
// leaders of JetStream, and start programs that end with them. It promises no stability:
// programs on golive need package relay alone.
//
// # Who makes a bucket
//
// Only orchestrators (golive serve, and golive up) make the buckets of an environment, and
// only they change them ([Make]). What is there is compared with what this version of golive
// needs, each time that an orchestrator starts: the replicas, of which there may be more than
// it asks for, the limits, and the metadata, which says the format of what is kept and the id
// of the environment. A bucket of another environment is refused.
//
// Everybody else opens what is there ([Open], [Look]) and changes nothing: agents, setup
// services, services, and the command line. Where there is none, [ErrNone] says who makes it;
// a program that may start before the first orchestrator tells that, and waits. A service
// needs an orchestrator in any case: without a route it gets no production traffic.
//
// Both refuse a bucket whose format is newer than they know.
//
// # How long the bus is waited for
//
// Whoever asks something of the bus has a patience of its own, whatever its caller's context
// says: a question that was on its way when the bus was cut off is never answered, and has to be
// asked again. So JetStream is asked by way of [JetStream] alone, and a leader that may be away
// by [AskLeader]. A test of the command line's package keeps that.
package bus
