package main

import (
	"fmt"

	"github.com/Masterminds/semver/v3"
)

// searchSince is the version that searches, where nobody says which one does.
const searchSince = "0.0.2"

// use is what web does with todo-search.
type use string

const (
	none  use = "none"  // nothing: it does not know of it
	fed   use = "fed"   // it tells it about new todos; visitors see nothing of it
	shown use = "shown" // visitors search with it, too
)

// useOf is what was asked for; empty: what the version does by itself.
func useOf(asked, version string) (use, error) {
	v, err := semver.StrictNewVersion(version)
	if err != nil {
		return none, fmt.Errorf("version %q: %w", version, err)
	}
	switch u := use(asked); u {
	case none, fed, shown:
		return u, nil
	case "":
		if v.LessThan(semver.MustParse(searchSince)) {
			return none, nil
		}
		return shown, nil
	}
	return none, fmt.Errorf("-search is %q: write none, fed or shown", asked)
}
