package features

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/cucumber/godog"
)

// mark is what stands, in an expected line, for what differs from run to run.
var mark = regexp.MustCompile(`…|<(?:duration|id|ago|number|folder|time|date)>|\s+`)

// pattern matches what a mark stands for.
func pattern(mark string) string {
	switch mark {
	case "…":
		return `.*`
	case "<duration>":
		return `\d+(\.\d+)?(µs|ms|s|m\d+s)`
	case "<id>":
		return uuid
	case "<ago>":
		return `\d+[smhd] ago`
	case "<number>":
		return `\d+`
	case "<folder>":
		return `\S+`
	case "<date>":
		return `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`
	case "<time>":
		return `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`
	}
	return `\s+` // spaces
}

// lineLike matches the lines that are as expected.
func lineLike(expected string) *regexp.Regexp {
	expected = strings.TrimSpace(expected)
	var b strings.Builder
	b.WriteString(`^\s*`)
	last := 0
	for _, at := range mark.FindAllStringIndex(expected, -1) {
		b.WriteString(regexp.QuoteMeta(expected[last:at[0]]))
		b.WriteString(pattern(expected[at[0]:at[1]]))
		last = at[1]
	}
	b.WriteString(regexp.QuoteMeta(expected[last:]) + `\s*$`)
	return regexp.MustCompile(b.String())
}

// lines are those of a text that are not empty.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

func (s *scenario) answerSteps(sc *godog.ScenarioContext) {
	sc.Step(`^the story tells, in this order:$`, s.storyTells)
	sc.Step(`^the story tells "(.*)"$`, func(ctx context.Context, line string) error {
		return s.storyTells(ctx, &godog.DocString{Content: line})
	})
	sc.Step(`^the story does not tell "(.*)"$`, s.storyDoesNotTell)
	sc.Step(`^the answer is:$`, s.answerIs)
	sc.Step(`^the answer holds(?: these lines)?:$`, s.answerHolds)
	sc.Step(`^the answer holds "(.*)"$`, func(ctx context.Context, line string) error {
		return s.answerHolds(ctx, &godog.DocString{Content: line})
	})
	sc.Step(`^there is no answer$`, s.noAnswer)
	sc.Step(`^I am told:$`, s.toldExactly)
	sc.Step(`^I am told this and more:$`, s.storyTells)
}

// inOrder says which of the expected lines is the first that does not follow those
// before it; empty when all do.
func inOrder(expected []string, text string) string {
	there := lines(text)
	for _, want := range expected {
		pattern, found := lineLike(want), false
		for !found && len(there) > 0 {
			found = pattern.MatchString(there[0])
			there = there[1:]
		}
		if !found {
			return fmt.Sprintf("there is no line %q, or not in this place", want)
		}
	}
	return ""
}

// storyTells waits until the lines are told, in their order and with others between.
func (s *scenario) storyTells(ctx context.Context, expected *godog.DocString) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	want := lines(expected.Content)
	return t.err.await(ctx, t.ended, func(text string) string { return inOrder(want, text) })
}

func (s *scenario) storyDoesNotTell(line string) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if inOrder([]string{line}, t.err.text()) == "" {
		return fmt.Errorf("it tells %q", line)
	}
	return nil
}

// answerHolds waits until the lines stand there, in their order and with others
// between.
func (s *scenario) answerHolds(ctx context.Context, expected *godog.DocString) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	want := lines(expected.Content)
	return t.out.await(ctx, t.ended, func(text string) string { return inOrder(want, text) })
}

// answerIs waits until exactly these lines stand there.
func (s *scenario) answerIs(ctx context.Context, expected *godog.DocString) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	want := lines(expected.Content)
	return t.out.await(ctx, t.ended, func(text string) string { return exactly(want, text) })
}

// toldExactly compares all that a command that has ended told.
func (s *scenario) toldExactly(ctx context.Context, expected *godog.DocString) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	if wrong := exactly(lines(expected.Content), t.err.text()); wrong != "" {
		return fmt.Errorf("%s", wrong)
	}
	return nil
}

func exactly(expected []string, text string) string {
	there := lines(text)
	for i, want := range expected {
		if i >= len(there) {
			return fmt.Sprintf("there is no line %q", want)
		}
		if !lineLike(want).MatchString(there[i]) {
			return fmt.Sprintf("line %d is %q, not %q", i+1, there[i], want)
		}
	}
	if len(there) > len(expected) {
		return fmt.Sprintf("there is one line more: %q", there[len(expected)])
	}
	return ""
}

func (s *scenario) noAnswer(ctx context.Context) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	if text := t.out.text(); text != "" {
		return fmt.Errorf("there is an answer: %s", text)
	}
	return nil
}
