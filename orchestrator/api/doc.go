// Package api is what people and deployment systems ask of the orchestrators of an
// environment: the requests, their answers, the codes of errors, and a [Client] for Go
// programs. It holds no engine.
//
// Every command is a NATS request to golive.api.<command>, JSON in and out:
//
//	command    request            answer            it
//	deploy     DeployRequest      RolloutView       begins a rollout, queues it, or has it go further
//	plan       PlanRequest        PlanView          tells what a deploy would do, and changes nothing
//	approve    ApproveRequest     RolloutView       says yes to an approval, or confirms an item
//	reject     StepRequest        RolloutView       says no to an approval
//	retry      RetryRequest       RolloutView       tries failed steps again, or failed records
//	abort      AbortRequest       RolloutView       ends a rollout and puts the traffic back
//	pause      StepRequest        RolloutView       holds a rollout, or one step
//	resume     StepRequest        RolloutView       lets it go on
//	pace       PaceRequest        RolloutView       has a script work faster or slower
//	backward   BackwardRequest    RolloutView       undoes an app's last rollout, or several
//	restore    RestoreRequest     RolloutView       puts data and traffic back as they were before a rollout
//	restore-plan  RestoreRequest  RestorePlan       tells what a restore would do, and changes nothing
//	mark       MarkRequest        RolloutView       records a script as run, without running it
//	records    RecordsRequest     RecordsPage       a page of the records that were put aside
//	follow     FollowRequest      FollowPage        what happens to a rollout, from an event on; see Client.Follow
//	show       RolloutRequest     RolloutStory      a rollout with all that has happened to it
//	list       ListRequest        RolloutList       a page of rollouts, newest first
//	status     AppRequest         []AppStatus       what is online, and what is under way
//	routes     {}                 []RouteStatus     which versions get traffic
//	ledger     LedgerRequest      []ledger.Entry    which scripts have run
//	snapshot-take   TakeRequest      SnapshotWork   takes a snapshot; asked again, tells how far it is
//	snapshot-check  SnapshotRequest  SnapshotWork   reads one back whole; asked again, tells how far it is
//	snapshot-list   AppRequest       SnapshotList   the snapshots
//	snapshot-show   SnapshotRequest  snapshot.Snapshot  what is in one
//	snapshot-drop   SnapshotRequest  snapshot.Snapshot  removes one
//	snapshot-copy   CopyRequest      SnapshotWork   makes a copy of some of one, or a masked one; asked again, tells how far it is
//	rehearsal-tell  RehearsalRequest  rehearsed.Outcome  keeps what came of a rehearsal
//	hosts      HostsRequest       []protocol.Host   what agents have done for a step
//	agents     {}                 []protocol.Agent  the agents that are alive
//	version    {}                 VersionInfo       which golive this is
//
// A failure is {"error": {"code", "message", "hint"}} with one of the codes below. A field
// that a request does not have is refused, with the name of the one that was probably meant;
// what a request relies on it says in needs (see [Features]).
//
// A command that changes something may go to golive.api.<command>.<user> instead: on a bus
// with users, that is who asks. A request or answer that does not fit into a message: a
// request may be compressed (the header Content-Encoding: gzip), and who sends the header
// Golive-Parts takes the answer in parts, each with that header: "2/3".
package api
