package local

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// Online is what runs at the end of a rollout, and where. Its fields are what programs rely on.
type Online struct {
	Rollout  string          `json:"rollout"`
	App      string          `json:"app"`
	Version  string          `json:"version"`
	Status   rollout.Status  `json:"status"`
	Bus      string          `json:"bus"`
	Services []OnlineService `json:"services"`
}

// OnlineService is a service of an app that is online.
type OnlineService struct {
	Service   string `json:"service"`
	Version   string `json:"version"`
	Instances int    `json:"instances"`     // alive
	URL       string `json:"url,omitempty"` // that the service tells of itself
}

// tellOnline shows what is online.
func (u *upRun) tellOnline(ctx context.Context, last rollout.State) error {
	o := Online{Rollout: last.ID, App: last.Release.App, Version: last.Release.Version, Status: last.Status, Bus: u.app.bus.URL,
		Services: []OnlineService{}}
	urls := serviceURLs(ctx, u.relay.Conn())
	for _, s := range last.Release.Services {
		all, err := u.orchestrator.Gate.Instances(ctx, s.Name)
		if err != nil {
			return err
		}
		o.Services = append(o.Services, OnlineService{Service: s.Name, Version: s.Version, Instances: gate.AliveOf(all, s.Version), URL: urls[s.Name+" "+s.Version]})
	}
	return u.Online(o)
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
