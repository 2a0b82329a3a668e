package command

import (
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/relay/protocol"
)

// A bus with users tells who somebody is by what they may publish: a command that comes on
// golive.api.<command>.<user> was sent by that user, if the server lets nobody else publish
// there. What a request says of itself, in its field by, is a claim.

// known takes down who asks, if the subject tells. On a bus with users nothing else does.
func (c *base) known(request any, subject string) error {
	user, ok := protocol.ParseUserAPISubject(subject)
	if !ok {
		return refuse(api.CodeInvalid, "leave the user out, or write it as the protocol says", "%s names no user", subject)
	}
	if asks, personal := request.(api.Personal); personal && (user != "" || c.Users) {
		asks.Is(user)
	}
	return nil
}

// identified refuses a request of which nobody knows who sent it, on a bus that could know.
func (c *base) identified(known bool, command string) error {
	if known || !c.Users {
		return nil
	}
	return refuse(api.CodeNotAllowed, "ask on "+protocol.UserAPISubject(command, "USER")+" with the own user's name, as the command line does",
		"it has to be known who asks, and the bus does not tell")
}
