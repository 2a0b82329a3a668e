package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// withSetups has a refusal, because nobody listens to the starts of scripts, tell the whole
// command lines of the setup services that are missing: those that the manifest in this folder
// has, of that very version.
func (c *command) withSetups(err error) error {
	var refused *protocol.ServiceError
	if !errors.As(err, &refused) || len(refused.Unheard) == 0 {
		return err
	}
	f := *explain(err)
	p, placeErr := c.address("")
	m, manifestErr := release.LoadFor(c.Dir, c.env)
	if placeErr != nil || manifestErr != nil {
		return &f
	}
	for _, s := range m.SetupServices() {
		if !slices.ContainsFunc(refused.Unheard, s.ListensTo) {
			continue
		}
		line := p.Environment()
		line = append(line, relay.EnvService+"="+s.Service, relay.EnvVersion+"="+s.Version)
		line = slices.DeleteFunc(line, func(variable string) bool { return strings.HasSuffix(variable, "=") })
		f.hint += "\nin this folder: " + shellLine(append(line, s.Command...))
	}
	return &f
}

// shellLine writes words as a shell reads them.
func shellLine(words []string) string {
	written := make([]string, len(words))
	for i, word := range words {
		written[i] = word
		if !plainWord.MatchString(word) {
			written[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(written, " ")
}

// plainWord is what needs no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)
