package features

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// playBareSetup is a setup service with nothing of ours: what it knows of golive stands
// in relay/protocol/README.md. The first argument is the way in which it answers, the others are the
// phases that it has scripts for.
func playBareSetup(args []string) int {
	report("bare setup service")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	nc, err := nats.Connect(os.Getenv("GOLIVE_NATS_URL"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer nc.Close()
	var busy sync.WaitGroup
	defer busy.Wait()
	way, phases := args[0], args[1:]
	service, version := os.Getenv("GOLIVE_SERVICE"), os.Getenv("GOLIVE_VERSION")
	for _, phase := range phases {
		name := "deployment-" + service + "-" + version + "-" + strings.ReplaceAll(phase, " ", "-")
		script := service + " " + version + " " + phase
		_, err := nc.QueueSubscribe(name+"-start", name+"-start", func(start *nats.Msg) {
			busy.Go(func() {
				o, err := ask(ctx, script, func(order) {})
				if err == nil {
					err = answerBarely(nc, way, name, start, o)
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, "error:", err)
				}
			})
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	<-ctx.Done()
	return 0
}

// answerBarely answers a start in one of the two ways of section 4: it replies, or it
// publishes the named message.
func answerBarely(nc *nats.Conn, way, name string, start *nats.Msg, o order) error {
	var failure any // null where there is none
	if o.Do == "fail" {
		failure = map[string]any{"message": o.Text}
	}
	switch {
	case way == "replies JSON":
		return start.Respond(asJSON(map[string]any{"done": failure == nil, "error": failure, "items": 7}))
	case way == "replies text" && failure != nil:
		return start.Respond([]byte(o.Text))
	case way == "replies text" && strings.HasSuffix(name, "-revert"):
		return start.Respond([]byte("dropped the index\n" + name + "ed\n"))
	case way == "replies text":
		return start.Respond([]byte("created the index\n" + name + "-done\n"))
	case failure != nil:
		return publishBarely(nc, way, name+"-failed", start, failure)
	}
	return publishBarely(nc, way, name+"-done", start, nil)
}

// publishBarely names the rollout and the attempt in headers, or in fields.
func publishBarely(nc *nats.Conn, way, name string, start *nats.Msg, failure any) error {
	m := nats.NewMsg(name)
	switch way {
	case "publishes with headers":
		m.Header.Set("Golive-Rollout", start.Header.Get("Golive-Rollout"))
		m.Header.Set("Golive-Attempt", start.Header.Get("Golive-Attempt"))
		if failure != nil {
			m.Data = asJSON(map[string]any{"error": failure})
		}
		return nc.PublishMsg(m)
	case "requests with fields":
		var copied struct {
			Rollout string `json:"rollout"`
			Attempt int    `json:"attempt"`
		}
		if err := json.Unmarshal(start.Data, &copied); err != nil {
			return err
		}
		m.Data = asJSON(map[string]any{"rollout": copied.Rollout, "attempt": copied.Attempt, "error": failure})
		_, err := nc.RequestMsg(m, 20*time.Second)
		return err
	}
	return fmt.Errorf("there is no way %q to answer", way)
}

func asJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of plain values can be written
	}
	return data
}
