package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// agents is the agents of up: this machine plays every role that the steps of the manifest ask
// for, and the states of its services.
type agents struct {
	connections []*relay.Relay
	running     sync.WaitGroup
	stop        context.CancelFunc
}

// startAgents starts an agent for each set of labels that a command or check of the manifest
// asks for, or the state of a service, and returns once they take orders.
func (u *upRun) startAgents(ctx context.Context) (*agents, error) {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &agents{stop: stop}
	data := u.stepsData()
	for _, labels := range rolesOf(u.app.manifest) {
		if err := os.MkdirAll(data, 0o700); err != nil {
			c.end()
			return nil, fmt.Errorf("make the data folder of steps: %w", err)
		}
		if err := u.startAgent(ctx, working, c, labels, data); err != nil {
			c.end()
			return nil, err
		}
	}
	return c, nil
}

func (u *upRun) startAgent(ctx, working context.Context, c *agents, labels map[string]string, data string) error {
	r, err := u.app.bus.Connect(ctx, u.By, u.Logger)
	if err != nil {
		return err
	}
	c.connections = append(c.connections, r)
	name := localName(u.app.manifest.App, labels)
	a, err := agent.New(agent.Config{
		Conn: r.Conn(), Journal: u.orchestrator.Journal, Releases: []*release.Manifest{u.app.manifest},
		Name: name, Labels: labels, Version: u.Version, Logger: u.Logger, Output: u.Output,
		Environment: append(u.app.bus.Environment(), "GOLIVE_DATA_DIR="+data), Base: u.Environ, Skips: u.Skips, Records: u.records(), Scratch: data, StateOutput: u.stateOutput,
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	c.running.Go(func() { ended <- a.Run(working) })
	select {
	case <-a.Ready():
		return nil
	case err := <-ended:
		return fmt.Errorf("agent %s: %w", name, err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end stops the agents and what they run, and blocks until they are gone.
func (c *agents) end() {
	c.stop()
	c.running.Wait()
	for _, r := range c.connections {
		r.Close()
	}
}

// rolesOf lists the sets of labels that the steps of a manifest ask for, each once.
func rolesOf(m *release.Manifest) []map[string]string {
	byName := make(map[string]map[string]string)
	for _, s := range m.Steps {
		if s.Command != nil || s.Check != nil {
			byName[localName(m.App, s.On)] = s.On
		}
	}
	for _, s := range m.Services {
		if s.StateCommand != nil && s.State != nil {
			byName[localName(m.App, s.State.On)] = s.State.On
		}
	}
	var roles []map[string]string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		roles = append(roles, byName[name])
	}
	return roles
}

// localName is what up calls the agent with these labels. Other labels have another name: one
// that does not tell them in full, or not where each of them ends, has a digest of them at its
// end.
func localName(app string, labels map[string]string) string {
	name, all, exact := "local-"+app, "", true
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		for _, word := range []string{key, labels[key]} {
			name += "-" + notInWord.ReplaceAllString(word, "-")
			all += strconv.Itoa(len(word)) + ":" + word
			exact = exact && !notInWord.MatchString(word)
		}
	}
	if exact && len(name) <= protocol.MaxAgentName {
		return name
	}
	sum := sha256.Sum256([]byte(all))
	end := "-" + hex.EncodeToString(sum[:4])
	return name[:min(len(name), protocol.MaxAgentName-len(end))] + end
}

// notInWord is what a word of a name cannot hold, and what stands between two words.
var notInWord = regexp.MustCompile(`[^A-Za-z0-9_]`)
