package release

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// TestTheReadmeTellsEveryKey finds a key that is read and that the tables do not have.
func TestTheReadmeTellsEveryKey(t *testing.T) {
	tables := tablesOfKeys(t)
	told := map[string]bool{}
	for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(tables, -1) {
		for _, word := range regexp.MustCompile(`[A-Za-z]+`).FindAllString(span, -1) {
			told[word] = true
		}
	}
	below := manifestLayout().below
	service, step := below["services"].below[""], below["steps"].below[""]
	for level, fields := range map[string][]field{
		"top": manifestFields(&Manifest{}, true), "step": step.fields, "check": step.below["check"].fields, "pace": service.below["pace"].fields,
		"state": service.below["state"].fields, "snapshots": below["snapshots"].fields,
		"requires": below["requires"].fields, "approvals": below["approvals"].fields, "source": below["source"].fields,
	} {
		for _, key := range keys(fields) {
			if !told[key] {
				t.Errorf("%s: the README does not tell %s", level, key)
			}
		}
	}
	for _, key := range keys(service.fields) {
		if !strings.Contains(tables, "| `services.NAME."+key+"` |") {
			t.Errorf("the README has no row services.NAME.%s", key)
		}
	}
}

// TestTheReadmeAndTheSchemaTellTheLimits finds a limit that has changed and whose texts, which
// people read, have not.
func TestTheReadmeAndTheSchemaTellTheLimits(t *testing.T) {
	tables, schema := tablesOfKeys(t), string(makeSchema())
	for _, c := range []struct{ readme, schema string }{
		{fmt.Sprintf("versions of the app, at most %d", MaxMustNotSkip), fmt.Sprintf("Versions of the app, at most %d", MaxMustNotSkip)},
		{fmt.Sprintf("whole seconds, %s to %s", brief(MinRetryAfter), brief(MaxRetryAfter)), fmt.Sprintf("from %s to %s.", brief(MinRetryAfter), brief(MaxRetryAfter))},
		{fmt.Sprintf("at most %d people", rollout.MaxApprovals), fmt.Sprintf("Users who may approve, at most %d", rollout.MaxApprovals)},
		{fmt.Sprintf("any key above or below [that is different there](#environments); at most %d", MaxEnvironments), fmt.Sprintf(`"maxProperties": %d`, MaxEnvironments)},
		{fmt.Sprintf("of each of its scripts, at most %s", brief(MaxTimeout)), fmt.Sprintf("How long each script may take, such as 90s, 10m or 1h30m, at most %s", brief(MaxTimeout))},
		{fmt.Sprintf("tried again by itself, at most %d", rollout.MaxRetries), fmt.Sprintf("tried again by itself, at most %d times", rollout.MaxRetries)},
		{
			fmt.Sprintf("before the first retry, %s to %s; doubled before each further one, up to %[2]s", brief(MinBackoff), brief(rollout.MaxBackoff)),
			fmt.Sprintf("from %s to %s; doubled before each further one, up to %[2]s", brief(MinBackoff), brief(rollout.MaxBackoff)),
		},
		{fmt.Sprintf("(0: no limit, else %g or more)", rollout.MinRate), fmt.Sprintf(`"maximum": %d`, rollout.MaxInFlight)},
		{fmt.Sprintf("versions of the service, at most %d", MaxKeepOnline), fmt.Sprintf("Other versions of this service, at most %d", MaxKeepOnline)},
		{fmt.Sprintf("of each at most %d streams", rollout.MaxData), fmt.Sprintf(`"maxItems": %d`, rollout.MaxData)},
		{fmt.Sprintf("at most %d, 0 for all", MaxKeepSnapshots), fmt.Sprintf(`"maximum": %d`, MaxKeepSnapshots)},
		{fmt.Sprintf("| `objects`, %d |", DefaultKeepSnapshots), fmt.Sprintf(`"default": %d`, DefaultKeepSnapshots)},
		{fmt.Sprintf("counts as online, at most %d", MaxInstances), fmt.Sprintf(`"maximum": %d`, MaxInstances)},
		{fmt.Sprintf("at most %d bytes", rollout.MaxText), ""},
		{fmt.Sprintf("at most %d items that are confirmed", rollout.MaxChecklist), fmt.Sprintf("confirmed one by one, at most %d items", rollout.MaxChecklist)},
		{fmt.Sprintf("| %s to %s: after which", brief(MinDeadline), brief(MaxDeadline)), fmt.Sprintf("a reminder goes out, from %s to %s", brief(MinDeadline), brief(MaxDeadline))},
		{fmt.Sprintf("`tries` (1 to %d)", MaxTries), fmt.Sprintf(`"maximum": %d`, MaxTries)},
		{fmt.Sprintf("`healthyFor` (at most %s)", brief(MaxHealthyFor)), fmt.Sprintf("without a break, at most %s", brief(MaxHealthyFor))},
		{fmt.Sprintf("| once, within %s |", brief(defaultWithin)), fmt.Sprintf("at most %s. Leave it out for %s", brief(MaxPause), brief(defaultWithin))},
		{fmt.Sprintf("labels of the agents that it runs on, at most %d", rollout.MaxLabels), fmt.Sprintf(`"maxProperties": %d`, rollout.MaxLabels)},
		{fmt.Sprintf("at most %d services, %d steps and %d MiB", MaxServices, rollout.MaxItems, MaxSize>>20), fmt.Sprintf(`"maxItems": %d`, rollout.MaxItems)},
	} {
		if !strings.Contains(tables, c.readme) {
			t.Errorf("the README does not tell: %s", c.readme)
		}
		if !strings.Contains(schema, c.schema) {
			t.Errorf("the schema does not tell: %s", c.schema)
		}
	}
}

// TestTheDigestHasEveryField finds a field of a key whose change would not make another
// release.
func TestTheDigestHasEveryField(t *testing.T) {
	for _, c := range []struct {
		of, digest any
		otherwise  map[string][]string // fields that count in another form, or not
	}{
		{rollout.Data{}, stateDigest{}, nil},
		{Manifest{}, manifestDigest{}, map[string][]string{
			"Environment": {"Approvals"}, "Environments": nil, "buses": nil, "settings": nil,
			"Seed": nil, "Data": nil, "Reports": nil, "Dir": nil, "Path": nil, // of the host
		}},
		{rollout.Service{}, serviceDigest{}, nil},
		{Step{}, stepDigest{}, map[string][]string{"Need": {"Hosts", "Percent"}}},
		{Command{}, commandDigest{}, nil},
		{Check{}, checkDigest{}, nil},
		{rollout.Question{}, questionDigest{}, nil},
		{rollout.Policy{}, approvalsDigest{}, nil},
	} {
		var want []string
		for _, name := range fieldsOf(c.of) {
			if as, other := c.otherwise[name]; other {
				want = append(want, as...)
				continue
			}
			want = append(want, name)
		}
		got := fieldsOf(c.digest)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%T: the digest has %v, want %v", c.of, got, want)
		}
	}
}

// fieldsOf are the names of the fields of a struct.
func fieldsOf(v any) []string {
	var names []string
	for f := range reflect.TypeOf(v).Fields() {
		names = append(names, f.Name)
	}
	return names
}

// tablesOfKeys is the part of the README that has the keys of the manifest, on one line.
func tablesOfKeys(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := bytes.Cut(text, []byte("\n| key | means |"))
	tables, _, ended := bytes.Cut(rest, []byte("\n## "))
	if !found || !ended {
		t.Fatal("the README has no tables of keys")
	}
	return strings.Join(strings.Fields(string(tables)), " ")
}
