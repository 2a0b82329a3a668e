// Package fleet stub
package fleet

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

type Fleet struct{}
type Job struct {
	Rollout string
	Release rollout.Release
	Step    rollout.Step
	Tell    func(string)
	Told    func([]protocol.Host)
}
type FailedError struct{}

func (*FailedError) Error() string                         { return "" }
func New(context.Context, *nats.Conn, int) (*Fleet, error) { return &Fleet{}, nil }
func (*Fleet) Do(ctx context.Context, j Job) ([]protocol.Host, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (*Fleet) Cancel(context.Context, string, rollout.Step) error { return nil }
func (*Fleet) Agents(context.Context) ([]protocol.Agent, error)   { return nil, nil }
func (*Fleet) Matching(context.Context, rollout.Release, rollout.Step) ([]protocol.Agent, error) {
	return nil, nil
}
func (*Fleet) Forget(context.Context, string) error { return nil }
func (*Fleet) Hosts(context.Context, string, rollout.Step) ([]protocol.Host, error) {
	return nil, nil
}
