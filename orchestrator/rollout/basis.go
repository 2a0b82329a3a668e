package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Basis is all that a plan depends on: the release, and the facts that [Compile] asks for.
// On the same basis the same plan is made, whenever and wherever that is.
type Basis struct {
	Release Release        `json:"release"`
	Ran     []RanScript    `json:"ran"`             // scripts of the release that have run
	Routes  []FoundRoute   `json:"routes"`          // of the services that it touches, in its order
	Until   protocol.Phase `json:"until,omitempty"` // at whose end it stops; empty: it goes to its own
	Live    *LiveRollout   `json:"live,omitempty"`  // the rollout by which the release is live already; nil: it is not
}

// LiveRollout is the rollout by which a release is live.
type LiveRollout struct {
	Rollout string    `json:"rollout"`
	At      time.Time `json:"at"`
}

// RanScript says that a script counts as run.
type RanScript struct {
	Name    string         `json:"name"` // of the service; of the app in phase setup
	Version string         `json:"version"`
	Phase   protocol.Phase `json:"phase"`
	Rollout string         `json:"rollout"`
	At      time.Time      `json:"at"`
}

// FoundRoute is a service's route as it was found.
type FoundRoute struct {
	Service  string   `json:"service"`
	Revision uint64   `json:"revision"`          // 0: it has none, or a failed rollout gives way and it is written anew before the plan's begins
	Online   []string `json:"online,omitempty"`  // versions that serve
	Rollout  string   `json:"rollout,omitempty"` // that has written it
}

// NewBasis picks from what is known of the environment what a plan of r depends on. Who
// has written the routes is left to the caller. From which commit r was taken changes nothing
// about the plan, and is left out.
func NewBasis(r Release, f Facts) Basis {
	r.Source = nil
	b := Basis{Release: r, Ran: []RanScript{}, Routes: []FoundRoute{}}
	add := func(script protocol.Script) {
		if ran, yes := f.Ran(script); yes {
			b.Ran = append(b.Ran, RanScript{
				Name: script.Name, Version: script.Version, Phase: script.Phase, Rollout: ran.Rollout, At: ran.At.UTC(),
			})
		}
	}
	for _, s := range r.Services {
		for _, phase := range s.Migrations {
			add(protocol.Script{Name: s.Name, Version: s.Version, Phase: phase})
		}
	}
	for _, name := range r.Touches() {
		found := f.Routes[name]
		b.Routes = append(b.Routes, FoundRoute{Service: name, Revision: found.Revision, Online: found.Online})
	}
	if f.Live != nil {
		b.Live = &LiveRollout{Rollout: f.Live.Rollout, At: f.Live.At.UTC()}
	}
	if r.Setup {
		add(protocol.Script{Name: r.App, Version: r.Version, Phase: protocol.Setup})
	}
	return b
}

// Facts is the basis as [Compile] takes it.
func (b Basis) Facts() Facts {
	ran := make(map[protocol.Script]Ran)
	for _, r := range b.Ran {
		ran[protocol.Script{Name: r.Name, Version: r.Version, Phase: r.Phase}] = Ran{Rollout: r.Rollout, At: r.At}
	}
	routes := make(map[string]Replace)
	for _, r := range b.Routes {
		routes[r.Service] = Replace{Revision: r.Revision, Online: r.Online}
	}
	f := Facts{Routes: routes, Ran: func(s protocol.Script) (Ran, bool) { found, yes := ran[s]; return found, yes }}
	if b.Live != nil {
		f.Live = &Ran{Rollout: b.Live.Rollout, At: b.Live.At}
	}
	return f
}

// Digest is the id of the plan that is made on the basis: the SHA-256 of its JSON, in
// hexadecimal digits.
func (b Basis) Digest() string {
	data, err := json.Marshal(b)
	if err != nil {
		panic(err) // it holds nothing that JSON has no words for
	}
	sum := sha256.Sum256(append([]byte("golive plan 1\n"), data...))
	return hex.EncodeToString(sum[:])
}

// Digits of a plan's id: as many as are shown, and as it has.
const (
	ShortPlan = 12
	LongPlan  = 2 * sha256.Size
)

// IsPlanID reports whether text is the id of a plan or a beginning of one that is long
// enough.
func IsPlanID(text string) bool {
	return len(text) >= ShortPlan && len(text) <= LongPlan && strings.Trim(text, "0123456789abcdef") == ""
}

// Changes tells, in a sentence each, how the plan that is made now differs from the one
// that was made on b, and because of what.
func (b Basis) Changes(now Basis) []string {
	var all []string
	switch before, after := b.Release, now.Release; {
	case before.App != after.App || before.Version != after.Version:
		all = append(all, fmt.Sprintf("it was a plan of %s %s, not of %s %s", before.App, before.Version, after.App, after.Version))
	case !reflect.DeepEqual(before, after):
		all = append(all, "golive.yaml has changed")
	}
	if b.Until != now.Until {
		all = append(all, fmt.Sprintf("it was to stop %s, and is to stop %s", whereTo(b.Until), whereTo(now.Until)))
	}
	was, errWas := Compile("", "", time.Time{}, b.Release, b.Facts())
	is, errIs := Compile("", "", time.Time{}, now.Release, now.Facts())
	if errWas == nil && errIs == nil {
		all = append(all, stepChanges(was, is)...)
	}
	return append(all, routeChanges(b.Routes, now.Routes)...)
}

func whereTo(phase protocol.Phase) string {
	if phase == "" {
		return "at its own end"
	}
	return "at the end of phase " + string(phase)
}

func stepChanges(was, is State) []string {
	var all []string
	for _, step := range is.Steps {
		before, known := was.Step(step.ID)
		skipped, skips := before.Status == StepSkipped, step.Status == StepSkipped
		switch {
		case !known:
			all = append(all, step.ID+" is new")
		case before.Version != step.Version && step.Kind != Maintenance:
			all = append(all, fmt.Sprintf("%s is about version %s, was about %s", step.ID, step.Version, before.Version))
		case skips && !skipped:
			all = append(all, step.ID+" is not needed any more: it "+step.Skipped)
		case skipped && !skips:
			all = append(all, step.ID+" is to be run again: what had run counts no more")
		case before.Skipped != step.Skipped:
			all = append(all, step.ID+" has run once more: it "+step.Skipped)
		}
	}
	for _, step := range was.Steps {
		if _, still := is.Step(step.ID); !still {
			all = append(all, step.ID+" is gone")
		}
	}
	return all
}

func routeChanges(was, is []FoundRoute) []string {
	var all []string
	for _, route := range is {
		i := slices.IndexFunc(was, func(r FoundRoute) bool { return r.Service == route.Service })
		if i < 0 || was[i].Revision == route.Revision && slices.Equal(was[i].Online, route.Online) {
			continue
		}
		text := "the route of " + route.Service + " was written"
		if route.Rollout != "" {
			text += " by rollout " + route.Rollout
		}
		if slices.Equal(was[i].Online, route.Online) {
			text += ", and leads to " + versions(route.Online) + " as before"
		} else {
			text += ": it leads to " + versions(route.Online) + ", and led to " + versions(was[i].Online)
		}
		all = append(all, text)
	}
	return all
}

func versions(online []string) string {
	if len(online) == 0 {
		return "no version"
	}
	return strings.Join(online, ", ")
}
