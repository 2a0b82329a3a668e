// Package local runs an app on this machine, as `golive up` does: its bus, its services and
// setup services, its agents, and the rollout of its version ([Up]). It stops what it starts.
// Setup services run while the rollout does, and when somebody needs them later.
//
// How a rollout is told, what is asked of a person and how answers are printed is the command
// line's: Up is given that as functions. Where the bus of an app that runs is, other commands
// find out by a [Beacon].
//
// It stands on the adapters, and on the packages process and agent for what it starts; nothing
// but the command line imports it.
package local
