package relay

import (
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// verdict is what an instance does with a production request.
type verdict int

const (
	answer   verdict = iota // with its handler
	hold                    // until the instance has its next role
	forward                 // to the private address of a version that is online
	refuse                  // the service is under maintenance
	nobody                  // no version is online
	giveBack                // to the queue group: the instance is leaving
)

// role is what a revision of the route makes of an instance. It never changes: the
// next revision makes the next role.
type role struct {
	revision  uint64
	state     protocol.VersionState
	verdict   verdict
	forwardTo string        // what the private subjects begin with that requests are forwarded to
	refusal   *Error        // what a request under maintenance is answered with
	over      chan struct{} // closed once the instance has its next role
}

// newRole derives the role of a version from its service's route.
func newRole(route protocol.Route, revision uint64, service, version string) *role {
	r := &role{revision: revision, state: route.State(version), over: make(chan struct{})}
	online := route.Online()
	switch {
	case route.Maintenance != nil:
		r.verdict = refuse
		r.refusal = &Error{
			Code: CodeUnavailable, Message: ErrMaintenance.Error(), reason: protocol.ReasonMaintenance,
			RetryAfter: time.Duration(route.Maintenance.RetryAfter),
		}
	case r.state == protocol.StateOnline:
		r.verdict = answer
	case r.state == protocol.StateFenced, r.state == protocol.StateStandby && len(online) == 0:
		r.verdict = hold
	case len(online) > 0:
		r.verdict, r.forwardTo = forward, protocol.PrivatePrefix(service, online[0])
	default:
		r.verdict = nobody
	}
	return r
}

// about is the verdict on one request. One that another instance has forwarded under a
// later revision is held, unless it can be answered: this instance is the one that is
// behind. One that was forwarded under this very revision is not forwarded back.
func (r *role) about(q *request) verdict {
	if r.verdict == answer || r.verdict == giveBack || q.header == nil {
		return r.verdict
	}
	by, forwarded := protocol.ParseNumber(q.header.Get(protocol.HeaderForwarded))
	if forwarded && (by > r.revision || by == r.revision && r.verdict == forward) {
		return hold
	}
	return r.verdict
}

// listed reports whether the instance is to listen on its production subjects. One that is
// draining leaves them.
func (r *role) listed() bool {
	return r.state == protocol.StateStandby || r.state == protocol.StateFenced || r.state == protocol.StateOnline
}

// left is the role of an instance that is leaving.
func (r *role) left() *role {
	return &role{revision: r.revision, state: protocol.StateLeft, verdict: giveBack, over: make(chan struct{})}
}
