package release

import (
	"slices"
	"strings"
)

// dependency is an entry of the key dependsOn.
type dependency struct {
	from, on string
	item     value
}

// readDependsOn reads what a service depends on, and adds it to wanted.
func readDependsOn(v value, from string, wanted *[]dependency) []string {
	return readWords(v, "a list of services like [todos]", func(item value, on string) {
		*wanted = append(*wanted, dependency{from, on, item})
	})
}

// checkDependencies reports dependencies on services that do not exist, and cycles.
func checkDependencies(names []string, wanted []dependency) {
	g := graph{on: map[string][]dependency{}, state: map[string]visit{}}
	for _, name := range names {
		g.state[name] = unvisited
	}
	for _, d := range wanted {
		if _, exists := g.state[d.on]; !exists {
			unknownService(d, names)
			continue
		}
		g.on[d.from] = append(g.on[d.from], d)
	}
	for _, name := range names {
		cycles(&g, name)
	}
}

// unknownService reports a dependency on a service that is not in the manifest.
func unknownService(d dependency, names []string) {
	others := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == d.from })
	valid := "there is no other"
	if len(others) > 0 {
		valid = "valid are " + list(others)
	}
	d.item.report(didYouMean(d.on, others), "unknown service %s: %s", quote(d.on), valid)
}

// graph is which service depends on which.
type graph struct {
	on    map[string][]dependency
	state map[string]visit
	trail []string // from the first service looked at to the present one
}

// visit is how far the search for cycles has got with a service.
type visit int

const (
	unvisited visit = iota
	onTrail
	visited
)

// cycles reports the cycles that are found from a service on; of those that close
// at the same service, one.
func cycles(g *graph, name string) {
	if g.state[name] != unvisited {
		return
	}
	g.state[name] = onTrail
	g.trail = append(g.trail, name)
	closed := false
	for _, d := range g.on[name] {
		if g.state[d.on] == onTrail && !closed {
			closed = true
			cycle := append(slices.Clone(g.trail[slices.Index(g.trail, d.on):]), d.on)
			d.item.report("remove one of these dependencies",
				"services wait for each other in a cycle: %s", strings.Join(bares(cycle), " -> "))
		}
		cycles(g, d.on)
	}
	g.trail = g.trail[:len(g.trail)-1]
	g.state[name] = visited
}
