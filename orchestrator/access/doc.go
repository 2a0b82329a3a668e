// Package access gives each program and each person of an app a user of its own on a bus, and
// writes the configuration of the NATS server that knows these users. [Users] are those of a
// release, with the rights that package protocol knows for their role; [Config] is the server's
// configuration; [Credentials] is what a user connects with. It asks no bus.
package access
