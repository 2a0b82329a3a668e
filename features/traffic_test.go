package features

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/relay"
)

func (s *scenario) trafficSteps(sc *godog.ScenarioContext) {
	sc.Step(`^(\S+) answers as version (\S+)$`, s.answersAs)
	sc.Step(`^(\S+) does not answer$`, s.answersNot)
	sc.Step(`^(\S+) is under maintenance, to be asked again after (\d+) seconds$`, s.underMaintenance)
	sc.Step(`^(\S+) answers as each of these versions: (.*)$`, s.answersAsEach)
	sc.Step(`^a visitor asks (\S+) for its version all the time$`, s.startVisitor)
	sc.Step(`^the visitor has asked (\d+) times more$`, s.visitorAsks)
	sc.Step(`^until the offline script of (\S+) (\S+) was done, the visitor had no answer from (\S+) (\S+)$`, s.promiseKept)
	sc.Step(`^the visitor had no answer from (\S+) (\S+) at all$`, s.neverAnswered)
	sc.Step(`^the last (\d+) answers that the visitor had are all from (\S+) (\S+)$`, s.lastAnswers)
	sc.Step(`^the visitor gets answers from (\S+) (\S+)$`, s.answersCome)
}

func (s *scenario) answersAs(ctx context.Context, service, want string) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	var version string
	if err := o.relay.Request(ctx, service+".version", nil, &version); err != nil {
		return err
	}
	if version != want {
		return fmt.Errorf("%s answers as version %s", service, version)
	}
	return nil
}

func (s *scenario) answersNot(ctx context.Context, service string) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	err = o.relay.Request(ctx, service+".version", nil, nil)
	if !errors.Is(err, relay.ErrNobodyListens) {
		return fmt.Errorf("%s is asked for its version, and the outcome is: %w", service, err)
	}
	return nil
}

func (s *scenario) underMaintenance(ctx context.Context, service string, seconds int) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	err = o.relay.Request(ctx, service+".version", nil, nil)
	var answered *relay.Error
	if !errors.As(err, &answered) || !errors.Is(err, relay.ErrMaintenance) || answered.RetryAfter != time.Duration(seconds)*time.Second {
		return fmt.Errorf("%s is asked for its version, and the outcome is: %w", service, err)
	}
	return nil
}

// answersAsEach asks until every version has answered, and no other.
func (s *scenario) answersAsEach(ctx context.Context, service, versions string) error {
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	missing := words(versions)
	ctx, cancel := withPatience(ctx)
	defer cancel()
	for len(missing) > 0 {
		var version string
		if err := o.relay.Request(ctx, service+".version", nil, &version); err != nil {
			return fmt.Errorf("%v have not answered: %w", missing, err)
		}
		if !slices.Contains(words(versions), version) {
			return fmt.Errorf("%s answers as version %s", service, version)
		}
		missing = slices.DeleteFunc(missing, func(v string) bool { return v == version })
	}
	return nil
}
