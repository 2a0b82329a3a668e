// Package agent does steps of rollouts on its host: it runs the commands and checks of the
// releases that it was given when it was started, when the journal says that they run.
//
// An [Agent] keeps a lease under its name, takes orders, and keeps in a bucket what has
// come of them, so that any orchestrator finds out (package fleet is their side). It never
// decides what a rollout does next, and restarts nothing: a program that its death has cut
// short stays so until an orchestrator begins another attempt.
//
// # Commands
//
// A command runs in the manifest's folder with forward or backward as its last argument,
// without a shell; a line for a shell finds the word in $1. Exit code 0 means done. A
// command that knows status is asked first: forward is left out if status exits with 0,
// backward if it exits with anything else. Only an exit code that status has chosen itself
// counts: when it cannot be started, is ended by a signal, or exits with 126 or 127 (a shell
// has not found it), the step fails. Nobody is there to answer a program that asks: its
// standard input is at its end. What a program leaves behind in its process group is stopped
// when it ends, and the note of the host says so; a daemon that is to stay is started in a
// session of its own (setsid), or by another process (systemd-run). Such a one is not stopped
// by the step's timeout either. In its environment are GOLIVE_ROLLOUT, GOLIVE_STEP, GOLIVE_ATTEMPT
// (from 1), GOLIVE_DIRECTION (forward or backward), GOLIVE_APP, GOLIVE_APP_VERSION,
// GOLIVE_HOST (the agent's name) and GOLIVE_ENVIRONMENT, beside all that the agent itself has
// in its own.
//
// A program must bear being run again: an attempt can be cut short at any moment, and the
// next one runs all of it, on this host or another. When the agent is killed, its programs
// are not; they find the end of the descriptor that GOLIVE_SUPERVISED_FD names (package
// process), which programs on the relay look at by themselves.
//
// # Checks
//
// A check is looked at until it has been well for as long as it has to be, or until as many
// looks as it has tries were not well, in all, whether or not well ones lay between. Each
// look is bounded by within; between two lies the pause. HTTP is a GET that follows at most
// three redirects, and none where a status from 300 to 399 is expected; one MiB of the body
// is read. A message goes to the private address of the version that the release brings, and
// an answer that is an error of the service is not well.
//
// # State
//
// For snapshots, an agent calls the commands that take the state of services and put it back
// (services.NAME.state.command of a manifest) with take, check, put or drop; sdk/state/README.md has
// their contract. The folder that they fill or read is made for each call and removed afterwards, and
// what is in it goes over the bus, in pieces. Environment and folder are as with the commands of
// steps; GOLIVE_SNAPSHOT and GOLIVE_SNAPSHOT_DIR are there, too, and no rollout is.
//
// # What an attacker can and cannot do
//
// Nothing executable travels over the bus. An order holds names and a number: rollout, app,
// step, attempt, direction. The agent looks the rollout up in the journal (its newest
// message, from the stream's leader), and acts only if all of this holds:
//
//   - app, version and digest of the rollout's release are those of a manifest that the
//     agent was given on its own disk, and the environment is one which that manifest names;
//   - the step runs, at this very attempt and in this direction, and was not cancelled;
//   - the manifest has a command or check of that name, of that kind;
//   - the agent's labels are those which the manifest asks for;
//   - for backward, the manifest says that the command takes it.
//
// Then it runs what the manifest says.
//
// An order for the state of a service holds names and a digest. The agent acts only if it was given
// the manifest of that app, version and digest, which has a command for the state of that service
// and labels that the agent has; if the takes bucket says, by its leader, that this snapshot of this
// app is being taken, checked or put right now; and if the answer goes to a subject beneath the
// inbox that stands there. A put is followed only while the bucket says put. So:
//
//   - Who may publish golive.agent.> but not write the journal can have nothing run. They
//     can keep an agent busy looking things up. They cannot have anything stopped either: a
//     cancel counts only if the step's assignment in the hosts bucket says so.
//   - Who may write the journal, as orchestrators may, can have run only what was put on the
//     host, with arguments and folder as the manifest there says, in a rollout of that
//     release. They choose when, how often, and in which direction.
//   - Who may write $KV.golive-hosts.> can have golive believe that a host is done, and have
//     what runs stopped. Who may write $KV.golive-agents.<name> can have that agent end. Give
//     both to orchestrators alone, beside what each agent needs (below).
//   - Who may write $KV.golive-takes.>, as orchestrators may, can have the state of a service
//     handed out, and replaced by another. Who may not gets nothing of it: an order in the name of
//     an orchestrator that is at it is answered to that orchestrator.
//   - Who may answer golive.agent.<name>.ping can keep an agent of that name from starting.
//
// What it does not protect against, and what to do:
//
//   - The digest covers what the manifest says of the release, not the files that its
//     commands name. Who can write to the release's folder decides what runs: make it
//     writable for the deploying user alone, never for the one that the agent runs as.
//
//   - A program has the agent's user, environment and network. Run the agent as an
//     unprivileged user, one agent per set of rights, and let a command that needs more ask
//     for it (sudo with that one command in sudoers). Start the agent with no secrets in its
//     environment but those that its commands need; credentials of the bus are a file that
//     programs of the same user can read.
//
//   - The end of what a program prints goes to the hosts bucket and from there into the
//     journal: who may read either reads it. Do not print secrets. It is never logged.
//
//   - Without permissions, everybody on the bus may write the journal. Give each agent a
//     user of its own, with TLS, and the permissions below.
//
//   - On a bus whose users share their inboxes, who may subscribe _INBOX.> can read the journal's
//     answers to this agent. Give each user a prefix of its own, as golive bus config does.
//
//   - An order whose step is beyond its deadline is refused, and a program is stopped at the
//     deadline, both by the clock of the bus, whatever the host's own says.
//
// # Permissions
//
// On a bus with users, [protocol.AgentRights] are what an agent needs: golive bus config gives
// them. The buckets and the stream must be there: any orchestrator makes them. It may write only
// its own lease and its own results, and can read all of the journal. That it has the labels which
// it says is believed.
package agent
