package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// online is what up says at the end: what runs, and where.
type online struct {
	Rollout  string          `json:"rollout"`
	App      string          `json:"app"`
	Version  string          `json:"version"`
	Status   rollout.Status  `json:"status"`
	Bus      string          `json:"bus"`
	Services []onlineService `json:"services"`
}

type onlineService struct {
	Service   string `json:"service"`
	Version   string `json:"version"`
	Instances int    `json:"instances"`     // alive
	URL       string `json:"url,omitempty"` // that the service tells of itself
}

func (u *upRun) printOnline(ctx context.Context, last rollout.State) error {
	o := online{Rollout: last.ID, App: last.Release.App, Version: last.Release.Version, Status: last.Status, Bus: u.app.bus.url,
		Services: []onlineService{}}
	urls := serviceURLs(ctx, u.relay.Conn())
	for _, s := range last.Release.Services {
		all, err := u.engine.gate.Instances(ctx, s.Name)
		if err != nil {
			return err
		}
		alive := slices.DeleteFunc(all, func(i gate.Instance) bool { return i.Version != s.Version })
		o.Services = append(o.Services, onlineService{Service: s.Name, Version: s.Version, Instances: len(alive), URL: urls[s.Name+" "+s.Version]})
	}
	return u.print(o, func(w io.Writer) {
		fmt.Fprintf(w, "\n%s %s is online\n\n", o.App, o.Version)
		var rows [][]string
		for _, s := range o.Services {
			rows = append(rows, []string{"  " + s.Service, s.Version, fmt.Sprint(s.Instances), terminal.OrDash(s.URL)})
		}
		terminal.Columns(w, []string{"  SERVICE", "VERSION", "INSTANCES", "TRY IT"}, rows)
		if u.options.once {
			return
		}
		fmt.Fprintf(w, "\nIn another terminal here: golive status, golive show %s, golive ledger\n", o.Rollout)
		fmt.Fprintf(w, "Ctrl-C stops everything.\n\n")
	})
}

// serviceURLs asks the services on the bus for the address that they tell in their
// metadata, by name and version.
func serviceURLs(ctx context.Context, nc *nats.Conn) map[string]string {
	urls := make(map[string]string)
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return urls
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest("$SRV.INFO", inbox, nil); err != nil {
		return urls
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return urls
		}
		var info micro.Info
		if json.Unmarshal(m.Data, &info) == nil && info.Metadata["url"] != "" {
			urls[info.Name+" "+info.Version] = info.Metadata["url"]
		}
	}
}
