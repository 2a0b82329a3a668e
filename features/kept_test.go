package features

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

func (s *scenario) keptSteps(sc *godog.ScenarioContext) {
	sc.Step(`^I remember all that is kept in the environment$`, func(ctx context.Context) (err error) {
		s.kept, err = s.everything(ctx)
		return err
	})
	sc.Step(`^all that is kept in the environment is as it was, byte for byte$`, s.asItWas)
}

// everything is each message that is kept on the bus, by stream and number. Leases are
// renewed all the time: of them it is the newest of each, without its number.
func (s *scenario) everything(ctx context.Context) (map[string]string, error) {
	o, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(o.nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	kept := make(map[string]string)
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		stream, err := js.Stream(ctx, info.Config.Name)
		if err != nil {
			return nil, err
		}
		kept[info.Config.Name] = fmt.Sprint(info.Config.Subjects, info.Config.MaxAge, info.Config.Metadata)
		leases := slices.Contains([]string{"KV_" + protocol.LeasesBucket, "KV_" + protocol.AgentsBucket}, info.Config.Name)
		last := info.State.LastSeq
		for number := info.State.FirstSeq; number <= last && number > 0; number++ {
			if leases && number == last { // one that is renewed now has a later number
				now, err := stream.Info(ctx)
				if err != nil {
					return nil, err
				}
				last = now.State.LastSeq
			}
			m, err := stream.GetMsg(ctx, number)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			key := fmt.Sprintf("%s %d %s", info.Config.Name, number, m.Subject)
			if leases {
				key = info.Config.Name + " " + m.Subject
			}
			kept[key] = fmt.Sprintf("%v %s", m.Header, m.Data)
			if leases {
				kept[key] = string(m.Data)
			}
		}
	}
	return kept, streams.Err()
}

func (s *scenario) asItWas(ctx context.Context) error {
	now, err := s.everything(ctx)
	if err != nil {
		return err
	}
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if before, known := s.kept[key]; !known {
			differ = append(differ, "+ "+key+": "+now[key])
		} else if before != now[key] {
			differ = append(differ, "~ "+key+": "+before+" is "+now[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.kept)) {
		if _, still := now[key]; !still {
			differ = append(differ, "- "+key)
		}
	}
	if len(differ) > 0 || len(now) == 0 {
		return fmt.Errorf("of %d things that are kept, these have changed:\n%s", len(now), strings.Join(differ, "\n"))
	}
	return nil
}
