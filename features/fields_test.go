package features

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cucumber/godog"
	"github.com/goccy/go-yaml"
)

func (s *scenario) fieldSteps(sc *godog.ScenarioContext) {
	sc.Step(`^the answer is JSON with the fields that (\S+) lists$`, s.answerFields(json.Unmarshal))
	sc.Step(`^the answer is YAML with the fields that (\S+) lists$`, s.answerFields(unmarshalYAML))
	sc.Step(`^there are (\d+) lines, each of them JSON with the fields that (\S+) lists$`, func(ctx context.Context, n int, list string) error {
		if err := s.lineFieldsOf(ctx, list); err != nil {
			return err
		}
		t, _ := s.current()
		if all := lines(t.out.text()); len(all) != n {
			return fmt.Errorf("there are %d lines", len(all))
		}
		return nil
	})
	sc.Step(`^all times in the answer are in UTC$`, s.timesInUTC)
	sc.Step(`^each line of the answer is JSON with the fields that (\S+) lists(?: below "(.*)")?$`, s.lineFields)
}

func unmarshalYAML(data []byte, v any) error {
	inJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return err
	}
	return json.Unmarshal(inJSON, v)
}

// answerFields compares the fields of the answer with those listed in testdata.
func (s *scenario) answerFields(unmarshal func([]byte, any) error) func(context.Context, string) error {
	return func(ctx context.Context, list string) error {
		t, err := s.current()
		if err != nil {
			return err
		}
		if err := t.await(ctx); err != nil {
			return err
		}
		var answer any
		if err := unmarshal([]byte(t.out.text()), &answer); err != nil {
			return fmt.Errorf("the answer cannot be read: %w: %s", err, t.out.text())
		}
		return compareFields(list, fieldsOf(answer))
	}
}

// lineFields compares the fields of each line, which is an element of what the answer
// is in JSON.
func (s *scenario) lineFields(ctx context.Context, list, below string) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	if below == "" {
		below = "[]"
	}
	all := lines(t.out.text())
	if len(all) == 0 {
		return fmt.Errorf("there is no line")
	}
	fields := make(map[string]bool)
	for _, line := range all {
		var one any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		maps.Copy(fields, fieldsOf(one))
	}
	want, err := listedFields(list)
	if err != nil {
		return err
	}
	var wanted []string
	for _, field := range want {
		if inside, ok := strings.CutPrefix(field, below+"."); ok {
			wanted = append(wanted, inside)
		}
	}
	return diffFields(list, wanted, fields)
}

// lineFieldsOf compares the fields of all lines with those listed.
func (s *scenario) lineFieldsOf(ctx context.Context, list string) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	fields := make(map[string]bool)
	for _, line := range lines(t.out.text()) {
		var one any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		maps.Copy(fields, fieldsOf(one))
	}
	return compareFields(list, fields)
}

// fieldsOf lists the paths of all fields in a value, such as "[].rollout.steps[].id".
func fieldsOf(value any) map[string]bool {
	fields := make(map[string]bool)
	var collect func(path string, value any)
	collect = func(path string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for key, inside := range v {
				below := strings.TrimPrefix(path+"."+key, ".")
				fields[below] = true
				collect(below, inside)
			}
		case []any:
			for _, element := range v {
				collect(path+"[]", element)
			}
		}
	}
	collect("", value)
	return fields
}

// timesInUTC checks all times in the answer. Where the programs run it is another zone.
func (s *scenario) timesInUTC(ctx context.Context) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	var answer any
	if err := json.Unmarshal([]byte(t.out.text()), &answer); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	return inUTC(answer)
}

func inUTC(value any) error {
	switch v := value.(type) {
	case map[string]any:
		for key, inside := range v {
			if err := inUTC(inside); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	case []any:
		for _, inside := range v {
			if err := inUTC(inside); err != nil {
				return err
			}
		}
	case string:
		if beginsWithTime.MatchString(v) && !lineLike("<time>").MatchString(v) {
			return fmt.Errorf("%s is not in UTC", v)
		}
	}
	return nil
}

var beginsWithTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT`)

func compareFields(list string, have map[string]bool) error {
	if *update {
		text := strings.Join(slices.Sorted(maps.Keys(have)), "\n") + "\n"
		return os.WriteFile(filepath.Join("testdata", list), []byte(text), 0o644)
	}
	want, err := listedFields(list)
	if err != nil {
		return err
	}
	return diffFields(list, want, have)
}

func listedFields(list string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join("testdata", list))
	if err != nil {
		return nil, err
	}
	return lines(string(data)), nil
}

func diffFields(list string, want []string, have map[string]bool) error {
	var differ []string
	for _, field := range want {
		if !have[field] {
			differ = append(differ, "- "+field)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(have)) {
		if !slices.Contains(want, field) {
			differ = append(differ, "+ "+field)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return fmt.Errorf("the answer has other fields than %s lists (- missing, + more):\n%s", list, strings.Join(differ, "\n"))
}
